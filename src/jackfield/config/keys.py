"""The keys of an entry, times with their units, and what turns a server off. Other programs' keys are in `foreign`.

Knows no models.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal

from ..errors import nearest
from ..plain import as_table

_COMMON = {
    *("server_name", "protocol", "session", "sessionConfig", "session_options", "include", "exclude", "transport"),
    *("keep_alive", "keepAlive", "volatile", "credentials"),
}
_REMOTE = {*_COMMON, "url", "headers", "sse_read_timeout", "verify", "auth", "timeout"}
KEYS = {
    "stdio": {
        *_COMMON,
        *("command", "args", "environment", "env", "inherit_environment", "working_dir", "cwd"),
        *("encoding", "encoding_error_handler"),
    },
    "sse": _REMOTE,
    "streamable-http": {*_REMOTE, "terminate_on_close"},
}
"""What an entry may have, by transport."""

SESSION_SETTINGS = frozenset(
    {
        *("timeout", "probe_timeout", "call_timeout", "attempt_timeout", "close_timeout", "idle_timeout"),
        *("reset_timeout_on_progress", "max_total_timeout"),
        *("max_concurrency", "max_sessions", "retry_attempts", "retry_on_503", "retry_delay", "max_retry_delay"),
        *("failure_threshold", "on_state_lost", "liveness_interval", "liveness_after", "liveness_timeout"),
        *("max_message_bytes", "max_notifications", "max_server_requests", "max_pages", "max_tools"),
        *("max_schema_bytes", "max_stderr_bytes", "check_arguments", "strict_output"),
    }
)
"""What `session` in an entry may have."""

CheckMode = Literal["lenient", "strict", "off"]
CHECK_MODES: tuple[CheckMode, ...] = ("lenient", "strict", "off")
"""How closely arguments are checked before a call is sent; the first is the default. See `SessionConfig`."""

FIVE_MINUTES = 300.0
HOUR = 3600.0
SIX_HOURS = 6 * HOUR
WEEK = 7 * 24 * HOUR

_IN_WORDS = {FIVE_MINUTES: "five minutes", HOUR: "an hour", SIX_HOURS: "six hours", WEEK: "a week"}

_LIBRECHATS_SESSION = {"timeout": "idle_timeout", "retryAttempts": "retry_attempts", "retryDelay": "retry_delay"}
_AG2S_OPTIONS = {"read_timeout_seconds": "call_timeout"}


def unknown_key(keys: Iterable[str], known: Collection[str]) -> str | None:
    """The problem with the first unknown key, if any."""
    for key in keys:
        if key not in known:
            close = nearest(key, known, 1)
            meant = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(sorted(known))}"
            return f"unknown key {key!r}; {meant}"
    return None


_TRANSPORTS = {
    **dict.fromkeys(("stdio", "local", "process"), "stdio"),
    "sse": "sse",
    **dict.fromkeys(("http", "streamable", "streamablehttp", "httpstream", "httpstreamable"), "streamable-http"),
    "remote": None,  # opencode: the url tells
}
"""The field's words for the transports, without case and separators."""


def one_spelling(transport: object) -> object:
    """The transport by the name it has here; `None` if the word says only that there is one."""
    if not isinstance(transport, str):
        return transport
    return _TRANSPORTS.get(transport.lower().replace("-", "").replace("_", "").strip(), transport)


def transport_of_entry(entry: Mapping[Any, Any]) -> str | None:
    """The transport of an entry: as named, else as its keys tell."""
    named = one_spelling(entry.get("transport"))
    if named is not None:
        return str(named)
    if "command" in entry:
        return "stdio"
    if "url" not in entry:
        return None
    from urllib.parse import urlsplit

    try:
        # The path is the only sign there is; the field's programs read it the same way.
        path = urlsplit(str(entry["url"])).path
    except ValueError:
        path = ""  # The model says what is wrong with it.
    return "sse" if path.rstrip("/").endswith("/sse") else "streamable-http"


def implausible(seconds: float, longest: float) -> str | None:
    """The problem with an implausible time in seconds; `None` if it is at most `longest`, a constant above."""
    return f"{seconds:.12g} s is over {_IN_WORDS[longest]}: is it milliseconds?" if seconds > longest else None


def from_milliseconds(value: object) -> object:
    """A number of milliseconds, perhaps as text, in seconds; anything else as it is, for the models to refuse."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        return float(value) / 1000
    except (ValueError, OverflowError):
        return value


def session_in_our_words(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry with `session` in place of LibreChat's `sessionConfig` and AG2's `session_options`.

    Raises:
        ValueError: A time of LibreChat's can only be seconds.
    """
    if not {"sessionConfig", "session_options"} & set(entry):
        return entry
    ours = dict(entry)
    theirs: object = ours.pop("sessionConfig", None)
    table = as_table(theirs)
    if theirs is not None and not isinstance(theirs, Mapping):
        ours.setdefault("session", theirs)  # The settings themselves, under LibreChat's name.
    elif table:
        _set(ours, "session", {_LIBRECHATS_SESSION.get(key, key): _seconds(key, table[key]) for key in table})
    options = as_table(ours.pop("session_options", None))
    if options:
        _set(ours, "session", _session_options(options))
    return ours


def session_key_as_written(key: str, entry: Mapping[str, Any]) -> str:
    """A key of `session` as it stands in an entry that has `sessionConfig` or `session_options`; another as it is.

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
        ours.setdefault("call_timeout", seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
    return ours


def _set(ours: dict[str, Any], key: str, values: Mapping[str, Any]) -> None:
    ours[key] = {**values, **as_table(ours.get(key))}


# Off

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
