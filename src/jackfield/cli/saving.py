"""`--save DIR`: writes non-text content to files."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import safe_name, write_new
from .exits import OutputError, UsageError
from .rendering import SAVED_AS, blocks_of, kind_of

_ENDINGS = {
    "audio/mp3": ".mp3",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "audio/webm": ".weba",
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/webp": ".webp",
}
"""Extensions that `mimetypes` does not know, or maps to a rare one."""


def save_folder(folder: Path) -> Path:
    """The folder, made if it is not there.

    Raises:
        UsageError: Nothing can be written there.
    """
    path = folder.expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"--save: {str(folder)!r} is not a folder.") from None
    except OSError as error:
        raise UsageError(f"--save: the folder {str(folder)!r} cannot be made ({error.strerror}).") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"--save: the folder {str(folder)!r} is not writable.")
    return path


def saved(result: Mapping[str, Any], folder: Path, name: str) -> tuple[dict[str, Any], OutputError | None]:
    """The result with paths instead of the content that was written to files; and why writing failed, if it did.

    Images, audio and binary resources are written, and text resources if a resource was read.

    Args:
        result: As the protocol has it.
        folder: The target folder.
        name: Name of files whose content has no name.
    """
    failure: OutputError | None = None
    blocks: list[Mapping[str, Any]] = []
    is_read = "contents" in result
    for block in blocks_of(result):
        data = _data(block, also_text=is_read)
        blocks.append(block)
        if data is not None and failure is None:
            try:
                blocks[-1] = _with_path(block, write_new(folder, _name(block, name), data))
            except OSError as error:
                failure = OutputError.because(error)
    if is_read:
        return {**result, "contents": [block["resource"] for block in blocks]}, failure
    if "messages" in result:
        messages = [{**message, "content": block} for message, block in zip(result["messages"], blocks, strict=True)]
        return {**result, "messages": messages}, failure
    return {**result, "content": blocks}, failure


def _data(block: Mapping[str, Any], *, also_text: bool) -> bytes | None:
    """The bytes to write for a block, if any. Invalid base64 stays unchanged."""
    kind = kind_of(block)
    if kind == "text" and also_text:
        return str(block["resource"].get("text", "")).encode("utf-8", "surrogatepass")
    encoded = block.get("data") if kind in ("image", "audio") else block["resource"]["blob"] if kind == "blob" else None
    try:
        return None if encoded is None else base64.b64decode(str(encoded), validate=True)
    except (binascii.Error, ValueError):
        return None


def _name(block: Mapping[str, Any], name: str) -> str:
    resource: Mapping[str, Any] = block.get("resource") or {}
    if "uri" not in resource:
        return safe_name(name, "result").replace(".", "_") + _ending(str(block.get("mimeType") or ""), is_text=False)
    suggested = safe_name(str(resource["uri"]), "resource")
    has_ending = "." in suggested
    return suggested if has_ending else suggested + _ending(str(resource.get("mimeType") or ""), "text" in resource)


def _ending(mime_type: str, is_text: bool) -> str:
    import mimetypes

    kind = mime_type.partition(";")[0].strip().lower()
    return _ENDINGS.get(kind) or mimetypes.guess_extension(kind) or (".txt" if is_text else ".bin")


def _with_path(block: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The block with the file's path in the place of its data."""
    if resource := block.get("resource"):
        left = {key: value for key, value in resource.items() if key not in ("blob", "text")}
        return {**block, "resource": {**left, SAVED_AS: str(path)}}
    return {**{key: value for key, value in block.items() if key != "data"}, SAVED_AS: str(path)}
