"""Pages of the reference that list: errors and events as tables, settings as definitions. Written from the classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import griffe

import jackfield
from jackfield import Event, HttpConfig, JackfieldError, SessionConfig, SseConfig, StdioConfig
from jackfield.config.oauth import OAuthConfig
from jackfield.config.servers import BaseServerConfig

ROOT = Path(__file__).parents[2]

_WORDS = {
    "Annotated[Annotated[bool, Strict()] | PositiveFloat, BeforeValidator(_plausible_keep_alive)]": "bool | float > 0",
    "UpToFiveMinutes": "seconds (at most five minutes)",
    "UpToAnHour": "seconds (at most an hour)",
    "UpToSixHours": "seconds (at most six hours)",
    "UpToAWeek": "seconds (at most a week)",
    "CheckMode": "`lenient`, `strict` or `off`",
    "PositiveFloat": "float > 0",
    "PositiveInt": "int > 0",
    "NonNegativeInt": "int >= 0",
    "FilePath": "path",
    "Text": "str",
    "Url": "str",
    "Secrets": "dict of str to secret",
    "ProtocolChoice": "`auto`, `handshake` or `2026-07-28`",
    "AuthSetting": "`oauth`, `none`, a table, or an `httpx2.Auth`",
}


_SHARED = list(BaseServerConfig.model_fields)


@cache
def source(module: str) -> griffe.Module:
    """A module as griffe reads it, with the texts below fields that Python itself does not keep."""
    path = ROOT / "src" / f"{module.replace('.', '/')}.py"
    return griffe.visit(module, filepath=path, code=path.read_text())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(" ".join(cell.split()) for cell in line) + " |" for line in lines)


def definitions(rows: Iterable[tuple[str, str, str]]) -> str:
    """A Markdown list of definitions: of names, each with its meaning and, below it, with its type and default."""
    lines: list[str] = []
    for names, meaning, kind in rows:
        about = [f":   {' '.join(text.split())}\n" for text in (meaning, kind) if text]
        lines += [names, *about]
    return "\n".join(lines)


def public_classes(root: type) -> list[type]:
    """The public classes derived from `root`, as the source has them."""
    found = [value for name in jackfield.__all__ if isinstance(value := getattr(jackfield, name), type)]
    derived = dict.fromkeys(value for value in found if issubclass(value, root) and value is not root)
    return sorted(derived, key=lambda value: _definition(value).lineno or 0)


def errors_page() -> str:
    """All errors, with their codes."""
    rows: list[list[str]] = []
    for error in public_classes(JackfieldError):
        also = [base.__name__ for base in error.__bases__ if base is not JackfieldError]
        own = sorted(set(error("").__dict__) - set(JackfieldError("").__dict__))
        rows.append([_link(error), f"`{error.code}`", _summary(error), _codes(also), _codes(own)])  # type: ignore[attr-defined]
    return f"""# Errors

Every error is a `JackfieldError`. Its text is for people and has at most three lines: what happened, what the server
wrote, and what to do. Programs read the stable `code` and the attributes that all errors have:
{_codes([name for name in JackfieldError("").__dict__ if name != "message"])}.

`sent` says whether the request was sent to the server: `True`, `False`, or `None` if this cannot be known.

{table(["class", "code", "meaning", "also a", "additional attributes"], rows)}

## In full

::: jackfield.JackfieldError
"""


def events_page() -> str:
    """All events, with what they tell."""
    shared = list(Event.__dataclass_fields__)
    rows = [
        [_link(event), _summary(event), _codes([name for name in event.__dataclass_fields__ if name not in shared])]  # type: ignore[attr-defined]
        for event in public_classes(Event)
    ]
    return f"""# Events

`on_event=` is called with these events, and `async for event in manager.events()` iterates over them. All have the
fields {_codes(shared)}.

{table(["event", "meaning", "additional fields"], rows)}
"""


def settings_page() -> str:
    """All settings of sessions, and all keys of servers."""
    with patch.dict(os.environ):
        for name in list(os.environ):
            if name.startswith("MCP_SESSION_"):
                del os.environ[name]
        defaults = SessionConfig()
    settings = [
        (
            f"`{name}`",
            _about(SessionConfig, name),
            f"{_kind(SessionConfig, name)}, default {_value(default)}, `MCP_SESSION_{name.upper()}`",
        )
        for name, default in defaults.model_dump().items()
    ]
    return f"""# Settings

This page lists every key of a server's configuration, and every setting of its sessions.
[Configuration](../configuration.md) describes how to write them in code and in files.

## All servers

{_keys(StdioConfig, _SHARED)}

## StdioConfig

{_keys(StdioConfig, _own(StdioConfig))}

## HttpConfig

{_keys(HttpConfig, _own(HttpConfig))}

## SseConfig

{_keys(SseConfig, _own(SseConfig))}

## Sign-in

These are the keys of the table `auth` of a server over HTTP. See [how to sign in](../how-to/sign-in.md).

{_keys(OAuthConfig, OAuthConfig.model_fields)}

## SessionConfig

These are the keys of `session` of a server. The variable sets the default for the whole process.

{definitions(settings)}
"""


def _own(kind: type[Any]) -> list[str]:
    return [name for name in kind.model_fields if name not in _SHARED]


def _keys(kind: type[Any], names: Iterable[str]) -> str:
    """Some fields of a server's configuration."""
    rows: list[tuple[str, str, str]] = []
    for name in names:
        field = kind.model_fields[name]
        spellings = getattr(field.validation_alias, "choices", [name])
        if name == "session":
            default = "default those below"
        else:
            value = field.get_default(call_default_factory=True)
            default = "required" if field.is_required() else f"default {_value(value)}"
        rows.append((_codes(spellings), _about(kind, name), f"{_kind(kind, name)}, {default}"))
    return definitions(rows)


def _definition(kind: type) -> griffe.Class:
    return source(kind.__module__)[kind.__name__]


def _field(kind: type, name: str) -> griffe.Attribute:
    for base in kind.__mro__:
        if base.__module__.startswith("jackfield.") and name in _definition(base).members:
            return _definition(base).members[name]  # type: ignore[return-value]
    raise KeyError(f"{kind.__name__}.{name}")


def _about(kind: type, name: str) -> str:
    docstring = _field(kind, name).docstring
    return docstring.value if docstring else ""


def _kind(kind: type, name: str) -> str:
    """A field's type in words that need no knowledge of pydantic."""
    words = str(_field(kind, name).annotation)
    if "Literal[" in words:
        values = words.partition("Literal[")[2].partition("]")[0]
        return " or ".join(f"`{value.strip(chr(39))}`" for value in values.split(", "))
    if words.startswith("Annotated[Url"):
        return "str"
    if words.startswith("Annotated[SkipValidation[SecretText"):
        return "secret"
    for name_here, shown in _WORDS.items():
        words = words.replace(name_here, shown)
    return words.replace(" | ", " or ").replace("list[str]", "list of str")


def _value(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"{value:g}" if value < 1e5 else str(value)
    return f"`{value}`" if value else "empty"


def _summary(kind: type) -> str:
    docstring = _definition(kind).docstring
    assert docstring, kind
    return docstring.value.partition("\n\n")[0]


def _link(kind: type) -> str:
    return f"[`{kind.__name__}`][jackfield.{kind.__name__}]"


def _codes(names: Iterable[object]) -> str:
    return ", ".join(f"`{name}`" for name in names)
