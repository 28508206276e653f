"""Cheap summary of a server (display address and catalog key), derived from its entry without building the models.

The models use the same functions, so that both say the same; `tests/config/test_outline.py` checks that they do.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol, cast

from ..masking import MASK, without_secrets
from ..plain import as_strings, as_table
from .identity import catalog_key
from .keys import (
    CHECK_MODES,
    FIVE_MINUTES,
    HOUR,
    KEYS,
    SESSION_SETTINGS,
    WEEK,
    CheckMode,
    transport_of_entry,
)
from .references import Expanded, ExpandedPath, shown, text_of
from .session_keys import SESSION_ALIASES, session_in_our_words

_NO_NUMBERS = {"reset_timeout_on_progress", "retry_on_503", "on_state_lost", "check_arguments", "strict_output"}
_PLAIN_SECONDS = {"call_timeout": 6 * HOUR, "idle_timeout": WEEK}


class Outlined(Protocol):
    """A server as the catalog needs it: a `ServerOutline`, or a whole configuration."""

    @property
    def server_name(self) -> str: ...
    @property
    def catalog_key(self) -> str: ...
    @property
    def include(self) -> Sequence[str]: ...
    @property
    def exclude(self) -> Sequence[str]: ...
    def lets_in(self, tool_name: str) -> bool: ...


@dataclass(frozen=True)
class ServerOutline:
    """Summary of a server without its whole configuration; contains no secret."""

    server_name: str
    transport: str
    address: str
    catalog_key: str
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    check_arguments: CheckMode = CHECK_MODES[0]

    def lets_in(self, tool_name: str) -> bool:
        """Whether `include` and `exclude` offer a tool of that name."""
        return lets_in(tool_name, self.include, self.exclude)


def outlined(prepared: Mapping[str, Any]) -> ServerOutline | None:
    """The outline of an entry from `prepare()`; `None` if only the models can interpret it."""
    transport = transport_of_entry(prepared)
    if transport not in KEYS or not set(prepared) <= KEYS[transport]:
        return None
    protocol: object = prepared.get("protocol", "auto")
    include, exclude, volatile = (as_strings(prepared.get(key, [])) for key in ("include", "exclude", "volatile"))
    name: object = prepared.get("server_name")
    if not isinstance(name, str) or not isinstance(protocol, str) or not name:
        return None
    session = _plain_session(prepared)
    if include is None or exclude is None or volatile is None or session is None:
        return None
    if transport == "stdio":
        if len({"env", "environment"} & set(prepared)) > 1 or len({"cwd", "working_dir"} & set(prepared)) > 1:
            return None
        command, args = prepared.get("command"), as_strings(prepared.get("args", []))
        environment = _as_texts(prepared.get("environment", prepared.get("env")))
        folder: object = prepared.get("working_dir", prepared.get("cwd"))
        if not isinstance(command, str) or not command or args is None or not isinstance(folder, str | None):
            return None
        if environment is None:
            return None
        address = stdio_address(command, args)
        place = ExpandedPath.of(folder) if isinstance(folder, Expanded) else None if folder is None else Path(folder)
        key = catalog_key(transport, protocol, address, [command, *args, place], environment, volatile)
    else:
        from urllib.parse import urlsplit

        url, headers, auth = prepared.get("url"), _as_texts(prepared.get("headers")), prepared.get("auth")
        if not isinstance(url, str) or headers is None:
            return None
        if auth not in (None, "oauth", "none"):
            return None
        try:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
                return None
        except ValueError:
            return None
        address = redact_url(url)
        key = catalog_key(transport, protocol, address, [identifying_url(url, volatile)], headers, volatile)
    return ServerOutline(name, transport, address, key, include, exclude, _check_mode(session))


def _plain_session(prepared: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The session's settings if they are right beyond doubt; the models know of all others."""
    try:
        entry = prepared if SESSION_ALIASES.isdisjoint(prepared) else session_in_our_words(prepared)
    except ValueError:
        return None
    given: object = entry.get("session", {})
    settings = as_table(given)
    if not isinstance(given, Mapping):
        return None
    for name, value in settings.items():
        if name == "check_arguments" and value in CHECK_MODES:
            continue
        if name not in SESSION_SETTINGS - _NO_NUMBERS or isinstance(value, bool) or not isinstance(value, int | float):
            return None
        is_whole = isinstance(value, int) or name.endswith(("timeout", "_delay", "_interval", "_after"))
        if not is_whole or not 0 < value <= _PLAIN_SECONDS.get(name, FIVE_MINUTES):
            return None
    return settings


def _check_mode(session: Mapping[str, Any]) -> CheckMode:
    said = session.get("check_arguments", os.environ.get("MCP_SESSION_CHECK_ARGUMENTS", "").strip().lower())
    return said if said in CHECK_MODES else CHECK_MODES[0]


def lets_in(tool_name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether these globs offer a tool of that name; no `include` is any."""

    def matches(globs: Sequence[str]) -> bool:
        return any(fnmatchcase(tool_name, glob) for glob in globs)

    return (not include or matches(include)) and not matches(exclude)


def stdio_address(command: str, args: Iterable[str]) -> str:
    """A command line for people, without the values of variables and without secrets."""
    return shlex.join(shown_arguments([command, *args]))


def shown_arguments(args: Iterable[str]) -> list[str]:
    """The words of a command line, without the values of variables and without secrets."""
    return without_secrets([shown(text) for text in args])


def redact_url(url: str, userinfo: str = "") -> str:
    """The URL with its query values masked, no fragment, and `userinfo` for the credentials before the host."""
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(shown(url))
    credentials, _, host = parts.netloc.rpartition("@")
    query = re.sub(r"([^&=]*=)?[^&]+", lambda match: f"{match[1] or ''}{MASK}", parts.query)
    return urlunsplit((parts.scheme, f"{userinfo}{host}" if credentials else host, parts.path, query, ""))


def identifying_url(url: str, volatile: Collection[str]) -> str:
    """The URL without its fragment, and without the values of the query parameters that are `volatile`."""
    ignored = {name.lower() for name in volatile}

    def counted(match: re.Match[str]) -> str:
        return match[1] if match[1][:-1].lower() in ignored else match[0]

    address, mark, query = url.partition("#")[0].partition("?")
    counting = f"{address}{mark}{re.sub(r'([^&=]*=)[^&]+', counted, query)}"
    return Expanded(counting, url.template) if isinstance(url, Expanded) else counting


def _as_texts(value: object) -> dict[str, str] | None:
    """A table of variables or headers; `None` if it is not one, or a value is neither text nor a number."""
    if not isinstance(value, Mapping | None):
        return None
    table = {name: text_of(one) for name, one in cast("Mapping[str, object]", value or {}).items()}
    return None if None in table.values() else cast("dict[str, str]", table)
