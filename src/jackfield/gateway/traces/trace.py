"""`Trace`: the recorded messages of one server, as lines of JSON.

The first line says what it is, each other line is a message:

    {"jackfield_trace": 1, "server": "notes", "recorded_at": "2026-11-27T10:00:00+00:00"}
    {"at": 0.012, "session": 1, "to": "server", "message": {"jsonrpc": "2.0", "id": 1, "method": "initialize", ...}}

`at` is in seconds since the recording began. A server may have several sessions at once, which are told by a number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from ...errors import ConfigError
from ...masking import AMOUNT_NAME, MASK, SECRET_NAME
from ...plain import as_list, as_table
from ..shown_arguments import without_secrets

VERSION = 1
MOST_BYTES = 256 * 1024 * 1024
"""Of a file that is read."""

_SCHEMAS = ("inputSchema", "outputSchema", "requestedSchema")

Side = Literal["server", "client"]


@dataclass(frozen=True)
class Recorded:
    """One message."""

    at: float
    """Seconds since the recording began."""
    session: int
    to: Side
    message: Mapping[str, Any]

    def line(self) -> str:
        """As it is written, without its secrets."""
        about = {"at": round(self.at, 6), "session": self.session, "to": self.to}
        return json.dumps({**about, "message": masked_message(self.message)}, ensure_ascii=False)


@dataclass(frozen=True)
class Trace:
    """What was recorded of one server."""

    server_name: str
    recorded_at: str
    """ISO 8601."""
    messages: tuple[Recorded, ...] = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Trace:
        """Read a trace.

        Raises:
            ConfigError: It cannot be read, or is not a trace; the message has the line.
        """
        try:
            if path.stat().st_size > MOST_BYTES:
                raise ConfigError(f"{path} is too large for a trace: more than {MOST_BYTES:,} bytes.")
            lines = path.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            raise _no_trace(path, 1, "it is not UTF-8 text") from None
        except OSError as error:
            raise ConfigError(f"The trace {path} cannot be read: {error.strerror or error}.") from None
        head = as_table(_json(path, 1, lines[0]) if lines else None)
        if head.get("jackfield_trace") != VERSION:
            raise _no_trace(path, 1, f"it has no `jackfield_trace: {VERSION}`")
        entries = [(number, line) for number, line in enumerate(lines[1:], 2) if line.strip()]
        messages = tuple(_recorded(path, number, line) for number, line in entries)
        return cls(str(head.get("server")), str(head.get("recorded_at")), messages)


def first_line(server_name: str, recorded_at: str) -> str:
    """What a trace begins with."""
    return json.dumps({"jackfield_trace": VERSION, "server": server_name, "recorded_at": recorded_at})


def masked_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without its secrets: values that are known to be secret, and those whose names say so."""
    return {key: _masked(key, value) for key, value in message.items()}


def _masked(name: str, value: object, *, is_schema: bool = False) -> object:
    """A value without its secrets; `name` is its own, or the nearest that says that it is one."""
    is_secret = not is_schema and name != "progressToken" and SECRET_NAME.search(name) is not None
    if isinstance(value, str):
        return MASK if value and is_secret else without_secrets(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return MASK if is_secret and not AMOUNT_NAME.search(name) else value
    if isinstance(value, Mapping):
        # A schema names its properties, and holds no values of them.
        inner, table = is_schema or name in _SCHEMAS, as_table(cast("object", value))
        return {key: _masked(name if is_secret else str(key), item, is_schema=inner) for key, item in table.items()}
    if isinstance(value, list):
        return [_masked(name, item, is_schema=is_schema) for item in as_list(cast("object", value))]
    return value


def _recorded(path: Path, number: int, line: str) -> Recorded:
    entry = as_table(_json(path, number, line))
    at, session, to, message = entry.get("at"), entry.get("session"), entry.get("to"), as_table(entry.get("message"))
    if not isinstance(at, int | float) or not isinstance(session, int) or not message:
        raise _no_trace(path, number, "it needs `at`, `session`, `to` and `message`")
    if to not in ("server", "client"):
        raise _no_trace(path, number, "`to` must be server or client")
    return Recorded(float(at), session, to, message)


def _json(path: Path, number: int, line: str) -> object:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        raise _no_trace(path, number, "it is not JSON") from None


def _no_trace(path: Path, number: int, why: str) -> ConfigError:
    return ConfigError(
        f"Line {number} of {path} is not a line of a trace: {why}.",
        hint="`jackfield record SERVER -o FILE` writes one.",
    )
