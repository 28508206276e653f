"""Plain data (JSON, TOML, YAML) of unknown shape, read without prior validation."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

_CONTROL = re.compile(rb"[\x00-\x1f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def as_table(value: object) -> Mapping[str, Any]:
    """The value if it is a table, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else ()


def as_strings(value: object) -> list[str] | None:
    """The value if it is a list of texts alone."""
    if isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value)):
        return cast("list[str]", value)
    return None


def parsed_json(text: str | bytes) -> object:
    """JSON that somebody else wrote; `None` where it is none, or nested too deep to be read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def readable_json(data: bytes) -> bytes:
    """JSON text without what strict readers refuse although its meaning is plain: a byte order mark, control characters
    within texts, bytes that are not UTF-8, and halves of surrogate pairs. Each of the latter two becomes U+FFFD."""
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode("utf-8", "replace").encode()
    if b"\\ud" in data or b"\\uD" in data or _CONTROL.search(data):
        try:
            text = json.dumps(json.loads(data, strict=False), ensure_ascii=False)
        except (ValueError, RecursionError):
            return data
        data = _SURROGATE.sub("\ufffd", text).encode()
    return data
