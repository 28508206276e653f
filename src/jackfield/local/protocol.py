"""What client and background process say to each other: frames, versions, errors.

A frame is a length (4 bytes, big-endian) and as much JSON. The process greets every connection with a hello; then the
client sends one request and reads until its answer: `{"progress": [done, total, message]}` and `{"alive": true}` as
often as they come, at last `{"result": ...}` or `{"error": ...}`. Closing the connection cancels the request.

Requests are `{"do": ...}`. `ps` and `end`, and the hello, are the same in all versions of the protocol, so that a
command of any version can see and end a process of any other; everything else needs the same version on both sides.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ..errors import DaemonError, JackfieldError, error_of

if TYPE_CHECKING:
    from socket import socket

PROTOCOL = 1

DEFAULT_KEY = "default"
"""Of a kept session that no key was given for."""

MAX_FRAME_BYTES = 64 * 1024 * 1024

HEADER = struct.Struct(">I")

HELLO = "jackfield keeper"
"""Value of `i_am` in a hello, so that no other program is mistaken for the daemon; the same in all versions."""

ALIVE_SECONDS = 5.0
"""How often the process says that it still works on a request."""

SILENCE_SECONDS = 30.0
"""A process that said nothing for so long counts as hung; importing the SDK on a slow machine must fit in."""


def packed(message: Mapping[str, Any]) -> bytes:
    """A message as a frame.

    Raises:
        DaemonError: It is too long.
    """
    return framed(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def framed(data: bytes) -> bytes:
    """JSON as a frame.

    Raises:
        DaemonError: It is too long.
    """
    check_length(len(data))
    return HEADER.pack(len(data)) + data


def receive_exactly(connection: socket, count: int) -> bytearray:
    """So many bytes from a connection that waits for them.

    Raises:
        ConnectionResetError: The other process closed the connection.
        OSError: The connection broke, or its time is over.
    """
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
        got = connection.recv_into(view[done:])
        if not got:
            raise ConnectionResetError("The other process closed the connection.")
        done += got
    return data


def hello() -> dict[str, Any]:
    """How this process greets who connects."""
    return {"i_am": HELLO, **_this_process()}


def process_facts(kind: str, program: str, started_at: float, last_error: Mapping[str, Any] | None) -> dict[str, Any]:
    """What this process says of itself in its answer to `ps`.

    Args:
        kind: `background`, `gateway` or `program`.
        program: Its name, without its arguments.
        started_at: When it began to answer, in seconds of `time.monotonic()`.
        last_error: What went wrong last.
    """
    age = round(time.monotonic() - started_at, 3)
    return {**_this_process(), "age": age, "kind": kind, "program": program, "last_error": last_error}


def _this_process() -> dict[str, Any]:
    from .._version import __version__

    return {"protocol": PROTOCOL, "version": __version__, "pid": os.getpid()}


def unpacked(data: bytes | bytearray) -> dict[str, Any]:
    """The message in a frame, without its length.

    Raises:
        DaemonError: It is not a JSON object.
    """
    try:
        message: object = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise DaemonError("A frame on the socket of kept sessions is not a JSON object.")
    return cast("dict[str, Any]", message)


def check_length(length: int) -> None:
    """Raises:
    DaemonError: A frame may not be so long.
    """
    if length > MAX_FRAME_BYTES:
        raise DaemonError(
            f"A message of {length:,} bytes exceeds the limit of {MAX_FRAME_BYTES:,} for kept sessions.",
            hint="Ask the tool for less, or call it without a kept session.",
        )


def error_to_wire(error: JackfieldError) -> dict[str, Any]:
    """An error with all its fields."""
    fields = {name: value for name, value in vars(error).items() if value is not None and not name.startswith("__")}
    if content := getattr(error, "content", None):
        fields["content"] = [
            block.model_dump(mode="json", by_alias=True, exclude_none=True) if hasattr(block, "model_dump") else block
            for block in content
        ]
    return {"code": error.code, **fields}


def error_from_wire(data: Mapping[str, Any]) -> JackfieldError:
    """The error as it was raised in the background process; one of a kind that is not known here keeps its code."""
    code = str(data.get("code"))
    kinds = _kinds()
    kind = kinds.get(code, JackfieldError)
    fields = vars(kind(str(data.get("message", "The background process reported an error."))))
    fields |= {name: data[name] for name in fields if name in data and name != "message"}
    return error_of(kind, fields if code in kinds else {**fields, "code": code})


def _kinds() -> dict[str, type[JackfieldError]]:
    from .. import errors

    kinds = (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, JackfieldError))
    return {kind.code: kind for kind in kinds}
