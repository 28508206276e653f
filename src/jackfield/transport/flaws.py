"""What was wrong with a result: how that travels with the repaired one (`Flaws`), and what was found, in words."""

from __future__ import annotations

import json
from typing import Any, cast

from pydantic import ValidationError

from ..masking import mask

FLAWS_KEY = "jackfield/flaws"
BLOCK_KEY = "jackfield/block"
"""Where the `_meta` of a text keeps the content block that could not be read, as the server sent it."""

_QUOTED_CHARS = 2000


class Flaws(dict[str, Any]):
    """Travels in the `_meta` of a repaired result. A server cannot send one: what it sends is a plain dict."""

    @property
    def problems(self) -> list[str]:
        """The problems, in words."""
        return self["problems"]

    @property
    def structured(self) -> tuple[()] | tuple[Any]:
        """Structured content that the version does not allow, if there is any."""
        return (self["structured"],) if "structured" in self else ()


def take_flaws(result: Any) -> Flaws:
    """The problems of an SDK result; restores the `_meta` that the server sent."""
    meta = cast("dict[str, Any] | None", result.meta)
    found = (meta or {}).get(FLAWS_KEY)
    if not isinstance(found, Flaws):
        return Flaws(problems=[])
    result.meta = {key: value for key, value in meta.items() if key != FLAWS_KEY} if meta and len(meta) > 1 else None
    return found


def why(error: ValidationError, union: str = "") -> str:
    """The first thing that is wrong within an entry, and where."""
    errors = error.errors(include_url=False, include_input=False)
    first = next((one for one in errors if union in one["loc"]), errors[0])
    steps = list(first["loc"])
    number = next((place for place, step in enumerate(steps) if isinstance(step, int)), -1)
    shown = ".".join(str(step) for step in steps[number + 1 :] if step != union)
    return f"{shown}: {first['msg']}" if shown else first["msg"]


def kind_of(value: object) -> str:
    """The JSON type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def short(value: object) -> str:
    """A value for a sentence."""
    text = mask(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 60 else f"{text[:50]}..."


def quoted(value: object) -> str:
    """A value as text for a model."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _QUOTED_CHARS else f"{text[:_QUOTED_CHARS]}... ({len(text):,} characters)"


def as_text(block: object) -> dict[str, Any]:
    """A block that cannot be read, as text for models; what came is kept in its `_meta`."""
    return {"type": "text", "text": quoted(block), "_meta": {BLOCK_KEY: block}}
