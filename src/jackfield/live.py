"""`Live`: objects that use this process's sessions. They cannot be pickled; copies share their hooks and policies."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn, Self, get_type_hints

STORED_INSTEAD = (
    "it calls sessions of this process, with the hooks and policies that are there. Give the agent "
    "`workbench=manager.workbench()` instead of tools: that can be stored."
)


class Live:
    """Copies, deep ones too, share all parts: a copy of a hook or a policy would count, or remember, for itself."""

    def __copy__(self) -> Self:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise NotImplementedError(
            f"A {type(self).__name__} cannot be pickled: it works with sessions of this process, and a copy loaded "
            "elsewhere would lack them, and its hooks and policies. Store the configuration, and create it from that."
        )


class NotStorableError(NotImplementedError, OSError):
    """A function is part of this process, and so has no source of its own that could be stored and run elsewhere."""


class _NoSource(ModuleType):
    """Found by `inspect.getsource` in the place of a function; asked for its file, it says why there is none."""

    def __getattr__(self, name: str) -> NoReturn:
        if name == "__file__":
            raise NotStorableError(f"The function {self.__name__!r} cannot be stored: {STORED_INSTEAD}")
        raise AttributeError(name)


def without_source(function: Callable[..., Any]) -> None:
    """Let nobody store a function by its source text, as AutoGen does: run elsewhere, it would lack all it refers to.

    `inspect.getsource(function)` raises `NotStorableError` from here on; its signature and type hints stay.
    """
    function.__annotations__ = get_type_hints(function, include_extras=True)
    vars(function).update(__signature__=inspect.signature(function), __wrapped__=_NoSource(function.__name__))
