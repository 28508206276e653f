"""Whether a file turns a server off, whatever words it uses for that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MEANS_OFF = {
    **dict.fromkeys(("disabled", "disable", "isDisabled", "is_disabled"), True),
    **dict.fromkeys(("enabled", "enable", "isEnabled", "is_enabled", "isActive", "is_active", "active"), False),
}
"""By key: the value that turns the server off."""

SWITCHES = frozenset(_MEANS_OFF)

_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1", "y", "t"), True),
    **dict.fromkeys(("false", "no", "off", "0", "n", "f", ""), False),
}


class UnclearError(ValueError):
    """A switch that says neither on nor off."""

    def __init__(self, key: str) -> None:
        super().__init__("it says neither on nor off")
        self.key = key


def is_off(entry: Mapping[str, Any]) -> bool:
    """Whether its file turns a server off. A key without a value says nothing.

    Raises:
        UnclearError: A key says neither; the server must not be used.
    """
    unclear: str | None = None
    for key in SWITCHES & set(entry):
        value: object = entry[key]
        if value is None:
            continue
        said = _truth(value)
        if said is None:
            unclear = key
        elif said is _MEANS_OFF[key]:
            return True
    if unclear is not None:
        raise UnclearError(unclear)
    return False


def _truth(value: object) -> bool | None:
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    return None
