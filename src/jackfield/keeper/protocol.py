"""What client and background process say to each other: frames, versions, errors.

A frame is a length (4 bytes, big-endian) and as much JSON. The process greets every connection with a hello; then the
client sends one request and reads until its answer: `{"progress": [done, total, message]}` and `{"alive": true}` as
often as they come, at last `{"result": ...}` or `{"error": ...}`. Closing the connection cancels the request.

Requests are `{"do": ...}`. `ps` and `end`, and the hello, are the same in all versions of the protocol, so that a
command of any version can see and end a process of any other; everything else needs the same version on both sides.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, cast

from ..errors import JackfieldError, KeeperError

PROTOCOL = 1

MAX_FRAME_BYTES = 64 * 1024 * 1024

HEADER = struct.Struct(">I")

HELLO = "jackfield keeper"
"""What a hello says under `i_am`, so that another program on the socket is not taken for ours."""

ALIVE_SECONDS = 5.0
"""How often the process says that it still works on a request."""

SILENCE_SECONDS = 30.0
"""A process that said nothing for so long counts as hung; importing the SDK on a slow machine must fit in."""

_ERROR_FIELDS = (
    "server_name",
    "sent",
    "state_lost",
    "retryable",
    "hint",
    "server_output",
    "retry_after",
    "generation",
    "exit_code",
    "rpc_code",
    "limit",
    "required_scopes",
)


def packed(message: Mapping[str, Any]) -> bytes:
    """A message as a frame.

    Raises:
        KeeperError: It is too long.
    """
    return framed(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def framed(data: bytes) -> bytes:
    """JSON as a frame.

    Raises:
        KeeperError: It is too long.
    """
    check_length(len(data))
    return HEADER.pack(len(data)) + data


def unpacked(data: bytes | bytearray) -> dict[str, Any]:
    """The message in a frame, without its length.

    Raises:
        KeeperError: It is no JSON object.
    """
    try:
        message: object = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise KeeperError("A frame on the socket of kept sessions is no JSON object.")
    return cast("dict[str, Any]", message)


def check_length(length: int) -> None:
    """Raises:
    KeeperError: A frame may not be so long.
    """
    if length > MAX_FRAME_BYTES:
        raise KeeperError(
            f"A message of {length:,} bytes is beyond the {MAX_FRAME_BYTES:,} that kept sessions can carry.",
            hint="Ask the tool for less, or call it without a kept session.",
        )


def error_to_wire(error: JackfieldError) -> dict[str, Any]:
    """An error with all it tells."""
    data: dict[str, Any] = {"code": error.code, "message": error.message}
    for name in _ERROR_FIELDS:
        value = getattr(error, name, None)
        if value is not None:
            data[name] = value
    if content := getattr(error, "content", None):
        data["content"] = [
            block.model_dump(mode="json", by_alias=True, exclude_none=True) if hasattr(block, "model_dump") else block
            for block in content
        ]
    return data


def error_from_wire(data: Mapping[str, Any]) -> JackfieldError:
    """The error as it was raised in the background process; one of a kind that is not known here keeps its code."""
    code = str(data.get("code"))
    kind = _kinds().get(code, JackfieldError)
    error = kind(str(data.get("message", "The background process reported an error.")))
    if error.code != code:
        error.code = code  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    for name in (*_ERROR_FIELDS, "content"):
        if name in data and hasattr(error, name):
            setattr(error, name, data[name])
    return error


def _kinds() -> dict[str, type[JackfieldError]]:
    from .. import errors

    kinds = (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, JackfieldError))
    return {kind.code: kind for kind in kinds}
