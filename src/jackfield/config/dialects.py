"""Entries as other programs write them, in Jackfield's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..plain import as_table

IGNORED = frozenset(
    {
        "$schema",
        "alwaysAllow",
        "authProviderType",
        "autoApprove",
        "autoStart",
        "description",
        "dev",
        "gallery",
        "headersHelper",
        "icon",
        "inputs",
        "oauth",
        "required",
        "sandboxEnabled",
        "settings",
        "source",
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

_SESSION = {
    "startup_timeout_sec": ("timeout", 1.0),  # Codex
    "startup_timeout_ms": ("timeout", 0.001),
    "tool_timeout_sec": ("call_timeout", 1.0),
}


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
    if program == "Gemini" and isinstance(ours.get("timeout"), int | float):
        _set(ours, "session", {"call_timeout": ours.pop("timeout") / 1000})
    if theirs := _oauth(entry.get("oauth")):
        ours.setdefault("auth", theirs)
    _forward_variables(ours)
    for theirs, (name, factor) in _SESSION.items():
        if isinstance(ours.get(theirs), int | float):
            _set(ours, "session", {name: ours.pop(theirs) * factor})
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
