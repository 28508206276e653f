"""What model APIs send and accept: a call's arguments as JSON text, and images of a few kinds in results."""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from typing import Any, TypeGuard, cast

from mcp.types import ImageContent

from ..errors import InvalidArgumentsError
from ..session.sendable import not_by_name

_BEGINNINGS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}


def value_of(thing: Any, name: str) -> Any:
    """A field of a dictionary, or of an object of an API's client package; `None` if it has none."""
    return cast("dict[str, Any]", thing).get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def json_arguments(tool_name: str, given: object) -> dict[str, Any]:
    """The arguments of a call, parsed from JSON if necessary; empty if omitted.

    Raises:
        InvalidArgumentsError: They are not a JSON object.
    """
    try:
        arguments: object = json.loads(given or "{}") if isinstance(given, str) else given or {}
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentsError(
            f"The arguments of {tool_name!r} are not a JSON object: {error}. Nothing was sent.", sent=False
        ) from None
    if not isinstance(arguments, Mapping):
        raise not_by_name(tool_name, arguments)
    return dict(cast("Mapping[str, Any]", arguments))


def is_picture(block: object) -> TypeGuard[ImageContent]:
    """Whether the block is a picture of a kind that all model APIs take, as far as its first bytes tell."""
    if not isinstance(block, ImageContent):
        return False
    try:
        # Whole groups of four, so that only the beginning of a large picture is decoded.
        first = binascii.a2b_base64(block.data[:32], strict_mode=True)
    except ValueError:
        return False
    return first.startswith(_BEGINNINGS.get(block.mime_type, ()))
