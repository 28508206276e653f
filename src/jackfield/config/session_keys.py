"""The settings of a session under other programs' names: LibreChat's `sessionConfig`, AG2's `session_options`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..plain import as_table
from .keys import add_to_table, from_milliseconds

_LIBRECHATS_SESSION = {"timeout": "idle_timeout", "retryAttempts": "retry_attempts", "retryDelay": "retry_delay"}
_AG2S_OPTIONS = {"read_timeout_seconds": "call_timeout"}


SESSION_ALIASES = frozenset({"sessionConfig", "session_options"})


def session_in_our_words(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry with `session` in place of LibreChat's `sessionConfig` and AG2's `session_options`.

    Raises:
        ValueError: A time of LibreChat's can only be seconds.
    """
    ours = dict(entry)
    theirs: object = ours.pop("sessionConfig", None)
    table = as_table(theirs)
    if theirs is not None and not isinstance(theirs, Mapping):
        ours.setdefault("session", theirs)  # The settings themselves, under LibreChat's name.
    elif table:
        add_to_table(ours, "session", {_LIBRECHATS_SESSION.get(key, key): _seconds(key, table[key]) for key in table})
    options = as_table(ours.pop("session_options", None))
    if options:
        add_to_table(ours, "session", _session_options(options))
    return ours


def session_key_as_written(key: str, entry: Mapping[str, Any]) -> str:
    """A key of `session` as written in an entry that has `sessionConfig` or `session_options`; another as it is.

    Args:
        key: With dots, such as `session.idle_timeout`.
        entry: As `session_in_our_words()` took it.
    """
    parent, _, name = key.partition(".")
    if parent != "session" or name in as_table(entry.get("session")):
        return key
    for theirs, names in (("sessionConfig", _LIBRECHATS_SESSION), ("session_options", _AG2S_OPTIONS)):
        table = as_table(entry.get(theirs))
        written = next((one for one, ours in names.items() if ours == name and one in table), name)
        if theirs in entry and (not name or written in table):
            return f"{theirs}.{written}" if name else theirs
    return key


def _seconds(key: str, value: object) -> object:
    if key not in ("timeout", "retryDelay"):
        return value
    seconds = from_milliseconds(value)
    if key == "timeout" and isinstance(seconds, float) and 0 < seconds < 1:
        raise ValueError(f"sessionConfig.timeout is in milliseconds, and {value} are under a second: is it seconds?")
    return seconds


def _session_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """AG2's session options: those of the SDK's session, of which only `read_timeout_seconds` can be in a file."""
    ours = dict(options)
    seconds = ours.pop("read_timeout_seconds", None)
    if seconds is not None:
        # Imported here: it takes as long as the rest of this module.
        from datetime import timedelta

        ours.setdefault("call_timeout", seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
    return ours
