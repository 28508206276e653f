"""Models of the SDK with the attributes that they had before the SDK's version 2: `isError` as well as `is_error`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, TypeVar, cast

from pydantic import BaseModel, ConfigDict

_T = TypeVar("_T")


class _CamelCase(BaseModel):
    """Finds fields by their names in the protocol, and is dumped with these."""

    model_config: ClassVar[ConfigDict] = ConfigDict(defer_build=True)

    def __getattr__(self, name: str) -> Any:
        field = _fields(type(self)).get(name)
        if field is not None:
            return getattr(self, field)
        return super().__getattr__(name)  # type: ignore[misc]  # pydantic's own, for what else a model has

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """As pydantic's; `by_alias` unless it is given."""
        options.setdefault("by_alias", True)
        return super().model_dump(**options)

    def model_dump_json(self, **options: Any) -> str:
        """As pydantic's; `by_alias` unless it is given."""
        options.setdefault("by_alias", True)
        return super().model_dump_json(**options)

    def __reduce__(self) -> tuple[Any, ...]:
        return with_camel_case, (_as_kind(self.model_copy(), type(self).__bases__[1]),)


@cache
def _fields(model: type[BaseModel]) -> Mapping[str, str]:
    """The fields of a model by their names in the protocol."""
    return {field.alias: name for name, field in model.model_fields.items() if field.alias not in (None, name)}


@cache
def _camel_case(model: type[BaseModel]) -> type[BaseModel]:
    """The kind of a model that has such attributes."""
    return type(model.__name__, (_CamelCase, model), {"__module__": model.__module__, "__doc__": model.__doc__})


def with_camel_case(value: _T) -> _T:
    """A copy whose models, including nested ones, also have camelCase attributes; other values are unchanged."""
    return cast("_T", _converted(value))


def _converted(value: Any) -> Any:
    if isinstance(value, BaseModel):
        copied = value.model_copy()
        vars(copied).update({name: _converted(item) for name, item in vars(value).items()})
        return copied if isinstance(value, _CamelCase) else _as_kind(copied, _camel_case(type(value)))
    if isinstance(value, list):
        return [_converted(item) for item in cast("list[Any]", value)]
    return value


def _as_kind(model: BaseModel, kind: type[BaseModel]) -> BaseModel:
    object.__setattr__(model, "__class__", kind)
    return model
