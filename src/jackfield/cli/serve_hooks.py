"""`--hook` of `jackfield serve`: hooks of one's own around every call, from a file or an installed module."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from . import exits

if TYPE_CHECKING:
    from types import ModuleType

    from ..session.hooks import CallHook

_FORM = "Give FILE.py:NAME or MODULE:NAME, with NAME a class derived from jackfield.CallHook, or an instance of one."


def hooks_of(references: Sequence[str]) -> list[CallHook]:
    """The hooks that were named, in their order.

    Raises:
        UsageError: One cannot be loaded, or is not a hook.
    """
    return [_hook(reference) for reference in references]


def _hook(reference: str) -> CallHook:
    from ..session.hooks import CallHook

    place, colon, name = reference.rpartition(":")
    if not (place and colon and name):
        raise exits.UsageError(f"--hook: {reference!r} names no hook.", hint=_FORM)
    try:
        found: object = getattr(_module(place), name, None)
        hook = cast("type[object]", found)() if isinstance(found, type) else found
    except Exception as error:
        # It is the operator's own code: whatever it raises says what is wrong with it.
        raise exits.UsageError(f"--hook: {reference} cannot be loaded: {error!r}.", hint=_FORM) from error
    if not isinstance(hook, CallHook):
        raise exits.UsageError(f"--hook: there is no CallHook {name!r} in {place}.", hint=_FORM)
    return hook


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    assert spec is not None, "it ends with .py"
    assert spec.loader is not None, "it is a file"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
