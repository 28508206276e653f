"""Entries as other programs write them, in Jackfield's words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from ..plain import as_table
from .seconds import from_milliseconds

IGNORED = frozenset(
    {
        "$schema",
        "alwaysAllow",
        "authProviderType",
        "autoApprove",
        "autoStart",
        "chatMenu",
        "customUserVars",
        "description",
        "dev",
        "gallery",
        "headersHelper",
        "icon",
        "iconPath",
        "inputs",
        "oauth",
        "required",
        "requiresOAuth",
        "sandboxEnabled",
        "serverInstructions",
        "settings",
        "source",
        "startup",
        "tools",
        "trust",
        "version",
    }
)
"""What other programs keep beside a server's own settings and what means nothing here."""

_RENAMED = {
    "type": "transport",
    "serverUrl": "url",  # Windsurf
    "enabled_tools": "include",  # Codex
    "disabled_tools": "exclude",
    "http_headers": "headers",
    "includeTools": "include",  # Gemini
    "excludeTools": "exclude",
    "disabledTools": "exclude",  # Windsurf
}

_SECONDS = {
    "startup_timeout_sec": "timeout",  # Codex
    "tool_timeout_sec": "call_timeout",
}
_MILLISECONDS = {
    "startup_timeout_ms": "timeout",  # Codex
    "initTimeout": "timeout",  # LibreChat
}

_LIBRECHATS_SESSION = {"timeout": "idle_timeout", "retryAttempts": "retry_attempts", "retryDelay": "retry_delay"}
_AG2S_OPTIONS = {"read_timeout_seconds": "call_timeout"}


def in_our_words(entry: Mapping[str, Any], program: str = "") -> dict[str, Any]:
    """The entry with Jackfield's names; what only means something to its own program is left out.

    Args:
        entry: As it stands in the file.
        program: Whose file it is, where one key means different things.
    """
    ours = {key: value for key, value in entry.items() if key not in IGNORED | {"disabled", "enabled"}}
    for theirs, name in _RENAMED.items():
        if theirs in ours:
            value = ours.pop(theirs)
            ours.setdefault(name, value)  # what is said in our words wins
    if "httpUrl" in ours:  # Gemini
        ours["url"] = ours.pop("httpUrl")
        ours.setdefault("transport", "http")
    if nested := as_table(ours.get("command")):  # Zed, of old
        ours |= {"command" if key == "path" else key: value for key, value in nested.items()}
    if "timeout" in ours and (seconds := _call_timeout(entry, program)) is not None:
        del ours["timeout"]
        _set(ours, "session", {"call_timeout": seconds})
    if theirs := _oauth(entry.get("oauth")):
        ours.setdefault("auth", theirs)
    _forward_variables(ours)
    for theirs, name in _SECONDS.items():
        if isinstance(ours.get(theirs), int | float):
            _set(ours, "session", {name: ours.pop(theirs)})
    for theirs, name in _MILLISECONDS.items():
        if isinstance(seconds := from_milliseconds(ours.get(theirs)), float):
            del ours[theirs]
            _set(ours, "session", {name: seconds})
    return ours


_IN_MILLISECONDS = {"sessionConfig", "initTimeout", "httpUrl"}
"""Keys that only LibreChat and Gemini have."""


def _call_timeout(entry: Mapping[str, Any], program: str) -> float | None:
    """The bound of a call, where that is what `timeout` means: some programs give it in milliseconds."""
    seconds = from_milliseconds(entry["timeout"])
    if not isinstance(seconds, float):
        return None
    if program in ("Gemini", "LibreChat") or _IN_MILLISECONDS & set(entry):
        return seconds
    if program.startswith("Claude Code"):
        # It ignores what is below a second; programs that read its file as well count in seconds.
        return seconds if seconds >= 1 else seconds * 1000
    return None


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
    """AG2's options of a session: those of the SDK's session, whose only one for a file is `read_timeout_seconds`."""
    ours = dict(options)
    seconds = ours.pop("read_timeout_seconds", None)
    if seconds is not None:
        ours.setdefault("call_timeout", seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
    return ours


def _forward_variables(ours: dict[str, Any]) -> None:
    """Codex names the variables that a value comes from, instead of writing `${VAR}`."""
    if isinstance(variable := ours.get("bearer_token_env_var"), str):
        del ours["bearer_token_env_var"]
        _set(ours, "headers", {"Authorization": f"Bearer ${{{variable}}}"})
    if headers := as_table(ours.get("env_http_headers")):
        del ours["env_http_headers"]
        _set(ours, "headers", {name: f"${{{variable}}}" for name, variable in headers.items()})
    if isinstance(names := ours.get("env_vars"), list):
        del ours["env_vars"]
        # What is not set here is not set there either.
        _set(ours, "env", {str(name): f"${{{name}:-}}" for name in cast("list[Any]", names)})


_OAUTH = {"clientId": "client_id", "clientSecret": "client_secret", "scopes": "scopes", "redirectUri": "redirect_uri"}


def _oauth(theirs: object) -> dict[str, Any]:
    """Claude Code and Gemini name the client that the user registered; that one is to sign in is found out here."""
    table = as_table(theirs)
    ours = {name: table[key] for key, name in _OAUTH.items() if key in table}
    if isinstance(port := table.get("callbackPort"), int):
        ours.setdefault("redirect_uri", f"http://localhost:{port}/callback")
    return ours


def _set(ours: dict[str, Any], key: str, values: Mapping[str, Any]) -> None:
    ours[key] = {**values, **as_table(ours.get(key))}
