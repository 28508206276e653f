"""Message streams that know which answer belongs to which request, and repair answers before the SDK checks them."""

from __future__ import annotations

from typing import Any

from mcp.shared.message import SessionMessage
from mcp.types import URL_ELICITATION_REQUIRED, JSONRPCError, JSONRPCRequest, JSONRPCResponse

from ..events import SessionLog
from ..masking import mask, masked
from .probe import EraProbe
from .repairs import REPAIRED_METHODS, repaired
from .sdk_streams import MessageReader, MessageWriter, cancelled_id


class Answers:
    """The requests of one connection whose answers may need repair.

    Args:
        log: Of the session.
    """

    def __init__(self, log: SessionLog) -> None:
        self.version: str | None = None
        """The protocol version, once it is negotiated."""
        self._log = log
        self._asked: dict[str, tuple[str, str]] = {}

    def asked(self, message: object) -> None:
        """Note a message that is sent."""
        if isinstance(message, JSONRPCRequest) and message.method in REPAIRED_METHODS:
            uri = (message.params or {}).get("uri")
            self._asked[str(message.id)] = (message.method, uri if isinstance(uri, str) else "")
        elif (cancelled := cancelled_id(message)) is not None:
            self._asked.pop(str(cancelled), None)

    def answered(self, message: object) -> None:
        """Repair an answer that came, where it needs that."""
        if not isinstance(message, JSONRPCResponse | JSONRPCError):
            return
        method, uri = self._asked.pop(str(message.id), ("", ""))
        if isinstance(message, JSONRPCError):
            # Before the SDK has it in exceptions, spans and its log.
            message.error.message = mask(message.error.message)
            if message.error.code != URL_ELICITATION_REQUIRED:
                message.error.data = masked(message.error.data)
        if method and self.version is not None and isinstance(message, JSONRPCResponse):
            try:
                message.result = repaired(method, self.version, message.result, uri=uri)
            except Exception:
                # Never at the cost of the connection; the SDK says what is wrong with it.
                self._log.exception("An answer to %s could not be repaired", method)


class RepairingReader(MessageReader):
    """A read stream whose answers are repaired."""

    def __init__(self, inner: Any, answers: Answers, probe: EraProbe) -> None:
        self._inner = inner
        self._answers = answers
        self._probe = probe

    @property
    def last_context(self) -> Any:
        """The context of the task that put the last message in; the SDK's receive loop looks for it."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        if not self._probe.is_over:
            return await self._receive_at_opening()
        item = await self._inner.receive()
        if isinstance(item, SessionMessage):
            self._answers.answered(item.message)
        return item

    async def _receive_at_opening(self) -> SessionMessage | Exception:
        while True:
            item: SessionMessage | Exception | None = None
            with self._probe.waiting():
                item = await self._inner.receive()
            if item is None:
                return self._probe.overdue()
            if isinstance(item, Exception):
                return item
            self._answers.answered(item.message)
            if (taken := self._probe.came(item)) is not None:
                return taken

    async def aclose(self) -> None:
        await self._inner.aclose()


class NotingWriter(MessageWriter):
    """A write stream whose requests are noted."""

    def __init__(self, inner: Any, answers: Answers, probe: EraProbe) -> None:
        self._inner = inner
        self._answers = answers
        self._probe = probe

    async def send(self, item: SessionMessage, /) -> None:
        self._answers.asked(item.message)
        self._probe.sent(item.message)
        await self._inner.send(item)

    async def aclose(self) -> None:
        await self._inner.aclose()
