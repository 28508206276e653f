"""The question which era a server speaks (`server/discover`), bounded well below the time that an opening has.

The SDK asks it first and goes on with the older handshake where the answer is an error; silence costs it 10 s. Here
the answer that does not come is replaced by such an error, on the same connection: a server that is only slow to start
reads both requests in order. An answer that comes late after all is taken for what it says.

Source: MCP 2026-07-28, basic/versioning "Detecting the era of a server".
"""

from __future__ import annotations

import math

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import (
    METHOD_NOT_FOUND,
    REQUEST_TIMEOUT,
    UNSUPPORTED_PROTOCOL_VERSION,
    ErrorData,
    JSONRPCError,
    JSONRPCRequest,
    JSONRPCResponse,
)
from mcp.types.version import LATEST_HANDSHAKE_VERSION, MODERN_PROTOCOL_VERSIONS

from ..plain import as_list


class EraProbe:
    """What becomes of the question on one connection.

    Args:
        seconds: How long to wait for the answer; without end if `math.inf`.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._question: str | int | None = None
        self._handshake: str | int | None = None
        self._deadline = math.inf
        self._held: SessionMessage | None = None
        """The refusal of the handshake, while an answer to the question may still explain it."""
        self._scope = anyio.CancelScope()
        self.is_over = False
        """Whether the era is settled, so that messages need not be looked at any more."""
        self.is_unanswered: bool = False
        """Whether the question was put, and no answer has come."""
        self.is_given_up: bool = False
        """Whether the answer was not waited for any longer."""

    def sent(self, message: object) -> None:
        """Look at a message that goes to the server."""
        if self.is_over or not isinstance(message, JSONRPCRequest):
            return
        if message.method == "server/discover":
            self._question, self._handshake, self.is_unanswered = message.id, None, True
            self._deadline = self._scope.deadline = anyio.current_time() + self._seconds
        elif message.method == "initialize":
            self._handshake = message.id
            self._deadline = self._scope.deadline = math.inf

    def waiting(self) -> anyio.CancelScope:
        """The scope of waiting for the next message; it is cancelled when the answer is overdue."""
        self._scope = anyio.CancelScope(deadline=self._deadline)
        return self._scope

    def overdue(self) -> SessionMessage:
        """The error in the place of the answer that did not come."""
        self.is_given_up, self._deadline = True, math.inf
        return _error(self._question, REQUEST_TIMEOUT, f"no answer within {self._seconds:g} s", None)

    def came(self, item: SessionMessage) -> SessionMessage | None:
        """Look at a message that comes from the server; returns what is to be taken for it, if anything is yet."""
        message = item.message
        if not isinstance(message, JSONRPCResponse | JSONRPCError):
            return item
        if str(message.id) == str(self._question):
            return self._answered(item, message)
        if isinstance(message, JSONRPCError) and str(message.id) == str(self._handshake):
            if message.error.code == UNSUPPORTED_PROTOCOL_VERSION:
                self._seconds = math.inf  # It speaks the newer protocol: the question is put once more.
            elif message.error.code == METHOD_NOT_FOUND and self.is_unanswered:
                self._held = item  # So does this one, and is slow: the answer is worth waiting for.
                return None
        return item

    def _answered(self, item: SessionMessage, message: JSONRPCResponse | JSONRPCError) -> SessionMessage:
        self.is_unanswered, self._deadline = False, math.inf
        if self._handshake is None:
            return item
        said = as_list(message.result.get("supportedVersions")) if isinstance(message, JSONRPCResponse) else ()
        versions = [version for version in said if version in MODERN_PROTOCOL_VERSIONS]
        if not versions:
            return self._held or item
        # It was slow: as if it had said so to the handshake, the SDK asks once more.
        self._seconds = math.inf
        data = {"supported": versions, "requested": LATEST_HANDSHAKE_VERSION}
        return _error(self._handshake, UNSUPPORTED_PROTOCOL_VERSION, "it speaks the newer protocol", data)


def _error(request_id: str | int | None, code: int, text: str, data: object) -> SessionMessage:
    assert request_id is not None
    return SessionMessage(
        JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=text, data=data))
    )
