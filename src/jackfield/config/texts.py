"""Kinds of text in configurations: what `${VAR}` was expanded in shows its template, and a secret shows nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, PlainSerializer, SecretStr, SkipValidation
from pydantic_core import CoreSchema, core_schema

from .expand import Expanded, ExpandedPath
from .outline import shown, text_of


class KeepsExpanded:
    """Keeps `Expanded` strings and paths as they are where pydantic would make plain ones of them."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def keep(value: Any, validate: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if isinstance(value, Expanded) and source is Path:
                return ExpandedPath.of(value)
            return value if isinstance(value, Expanded | ExpandedPath) else validate(value)

        return core_schema.no_info_wrap_validator_function(keep, handler(source))


Text = Annotated[str, KeepsExpanded, PlainSerializer(shown, return_type=str)]
"""A string that is dumped as its template where `${VAR}` was expanded in it."""


def _shown_path(value: Path) -> Path | str:
    return value.template if isinstance(value, ExpandedPath) else value


FilePath = Annotated[Path, KeepsExpanded, PlainSerializer(_shown_path)]
"""A path that is dumped as its template where `${VAR}` was expanded in it."""


class SecretText(SecretStr):
    """A secret that remembers the `${VAR}` template it came from, if any; only that can be stored."""

    @property
    def template(self) -> str | None:
        """The text with its references in place, or `None` where the secret was given in full."""
        value = self.get_secret_value()
        return value.template if isinstance(value, Expanded) else None

    @classmethod
    def wrap(cls, value: object) -> object:
        """Make a secret of a plain value; numbers become text as they would in a shell."""
        if isinstance(value, SecretStr):
            return value if isinstance(value, cls) else cls(value.get_secret_value())
        text = text_of(value)
        if text is None:
            raise ValueError("the value must be text")
        return cls(text)


Secrets = dict[str, Annotated[SkipValidation[SecretText], BeforeValidator(SecretText.wrap)]]
