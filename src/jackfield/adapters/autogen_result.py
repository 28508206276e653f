"""A tool's result for AutoGen: text and images, with a text version for the model."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import anyio.to_thread
from autogen_core import Image
from autogen_core.tools import ImageResultContent, TextResultContent
from autogen_core.tools import ToolResult as AutoGenResult
from mcp.types import ImageContent
from PIL import Image as PillowImage
from pydantic import PrivateAttr

from ..errors import JackfieldError
from ..session.results import ToolResult, decode, describe_block

# Of all images of one result: what a server claims in a few bytes must not cost the memory of the program.
_MAX_IMAGE_BYTES = 20_000_000
_MAX_PIXELS = 40_000_000  # a little more than 8K; up to 4 bytes each
# Pillow would also read EPS, for which it starts another program.
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")


class JackfieldToolResult(AutoGenResult):
    """A result whose images are named, and not spelled out as base64, for the model."""

    _words: list[str] = PrivateAttr(default_factory=list[str])

    def to_text(self, replace_image: str | None = None) -> str:
        """All of it in words; an image as `replace_image`, or as its type and size."""
        words = self._words if len(self._words) == len(self.result) else [""] * len(self.result)
        return "\n".join(
            part.content
            if isinstance(part, TextResultContent)
            else replace_image or said or f"[image: {part.content.image.width}x{part.content.image.height}]"
            for part, said in zip(self.result, words, strict=True)
        )

    @classmethod
    async def of(cls, name: str, result: ToolResult) -> JackfieldToolResult:
        """Pass on text and images; audio, binary resources and unreadable images are described."""
        blocks = list(result.content)
        words = [describe_block(block) for block in blocks] or [result.text]
        images: Sequence[Image | None] = [None] * len(words)
        if any(isinstance(block, ImageContent) for block in blocks):
            # An image may take a second, in which an event loop serves others.
            images = await anyio.to_thread.run_sync(images_of, blocks, abandon_on_cancel=True)
        parts = [_part(text, image) for text, image in zip(words, images, strict=True)]
        made = cls(name=name, result=parts, is_error=bool(result.is_error))
        made._words = words
        return made

    @classmethod
    def failed(cls, name: str, error: JackfieldError) -> JackfieldToolResult:
        """Tell the model what happened and what to do."""
        return cls(name=name, result=[TextResultContent(content=str(error))], is_error=True)


def _part(text: str, image: Image | None) -> TextResultContent | ImageResultContent:
    return TextResultContent(content=text) if image is None else ImageResultContent(content=image)


def images_of(blocks: Sequence[object]) -> list[Image | None]:
    """The image of each block, if it is a readable image within the limits."""
    found: list[Image | None] = []
    bytes_left, pixels_left = _MAX_IMAGE_BYTES, _MAX_PIXELS
    for block in blocks:
        image = None
        if isinstance(block, ImageContent) and len(block.data) <= bytes_left * 4 // 3:
            bytes_left -= len(block.data) * 3 // 4
            image = _image(block.data, pixels_left)
        if image is not None:
            pixels_left -= image.image.width * image.image.height
        found.append(image)
    return found


def _image(data: str, max_pixels: int) -> Image | None:
    try:
        picture = PillowImage.open(BytesIO(decode(data)), formats=_FORMATS)
        if picture.width * picture.height > max_pixels:
            return None
        return Image(picture)  # It reads all of the picture, and converts it.
    except Exception:  # Pillow's readers raise all kinds
        return None
