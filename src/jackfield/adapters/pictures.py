"""Distinguishes images that a model API accepts from those that make it reject the whole conversation."""

from __future__ import annotations

import binascii
from typing import TypeGuard

from mcp.types import ImageContent

_BEGINNINGS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}


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
