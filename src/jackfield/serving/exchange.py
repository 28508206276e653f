"""`Exchange`: one request that runs here, and what it sends to its client on the way."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp_types import INTERNAL_ERROR, RequestId

from .errors import StoreUnavailableError
from .readers import LogReader
from .records import RunningCall, StreamEvent
from .streams import StreamManager
from .wire import SHUT_DOWN, error, error_of, result

logger: logging.Logger = logging.getLogger("jackfield")

HOLD_SECONDS = 10.0
"""So long a running request is held while the store cannot be reached. After that it goes on without the log, so that
its client cannot resume."""

_ASK_AGAIN_SECONDS = 0.1
_STOP_SECONDS = 2.0
"""Bounds what is still done for a request when this instance stops."""

_MAX_UNLOGGED = 256
_MAX_UNLOGGED_CHARS = 1024 * 1024
"""So much may wait for the log before the handler has to."""

_CANCELLED = -32800
"""The code that MCP's SDKs use for a request that its client cancelled."""

Handler = Callable[[], Awaitable[Mapping[str, Any]]]


class Exchange:
    """A request and its stream. Its client may leave and come back, to any instance; the request goes on here.

    Args:
        streams: Where the stream's log is.
        session_id: The session.
        call: How the request stands in the session's ledger.
        request_id: As the client gave it.
        tasks: Own what goes on after the client has left.
    """

    def __init__(
        self, streams: StreamManager, session_id: str, call: RunningCall, request_id: RequestId, tasks: TaskGroup
    ) -> None:
        self.session_id: str = session_id
        self.call: RunningCall = call
        self._streams = streams
        self._request_id = request_id
        self._tasks = tasks
        self._scope = anyio.CancelScope()
        self._unlogged: list[str] = []
        self._unlogged_chars = 0
        self._room = anyio.Event()
        self._changed = anyio.Event()
        self._answer: str | None = None
        self._reader: LogReader | None = None
        self._is_streaming = False
        self._is_held_up = False
        self._is_deleted = False
        # Only this exchange writes to the log, until another instance answers in its place.
        self._next_number: int | None = 1
        self.is_cancelled: anyio.Event = anyio.Event()
        self.wants_reconnect: bool = False
        """The handler asked for the connection to be closed; the client is to come back for the rest."""
        self.has_begun: anyio.Event = anyio.Event()
        """Set with the first message, and with the answer."""
        self.is_settled: anyio.Event = anyio.Event()
        """Set once the answer is where the client can get it, or nobody wants it."""

    # The handler's side

    async def run(self, handler: Handler) -> None:
        """Run the handler to its end, whatever that is, and have its answer sent."""
        try:
            with self._scope:
                try:
                    answer = result(self._request_id, await handler())
                except MCPError as failure:
                    answer = error_of(self._request_id, failure.error)
                except Exception as failure:
                    answer = self._failed(failure)
            if self._scope.cancelled_caught:
                answer = error(self._request_id, _CANCELLED, "Request cancelled")
        except anyio.get_cancelled_exc_class():
            # This instance is being stopped, and with it what would log the answer.
            if self._is_streaming:
                with anyio.move_on_after(_STOP_SECONDS, shield=True):
                    await self._log([error(self._request_id, INTERNAL_ERROR, SHUT_DOWN)], is_final=True)
            raise
        self._answer = answer  # pyright: ignore[reportPossiblyUnboundVariable]
        self._unlogged.append(self._answer)
        self._changed.set()
        self.has_begun.set()

    def _failed(self, failure: Exception) -> str:
        details = handler_exception_to_error_data(failure)
        if details is not None:
            return error_of(self._request_id, details)
        logger.error("[MCP] A request handler failed", exc_info=failure)
        return error(self._request_id, 0, str(failure))

    async def put(self, message: str) -> None:
        """Put a message on the request's stream; waits while too many wait for the log."""
        while len(self._unlogged) >= _MAX_UNLOGGED or self._unlogged_chars > _MAX_UNLOGGED_CHARS:
            await self._room.wait()
        if self._answer is not None or self._is_deleted:
            return
        self._unlogged.append(message)
        self._unlogged_chars += len(message)
        self._changed.set()
        self.has_begun.set()

    def cancel(self, *, is_deleted: bool = False) -> None:
        """Cancel the handler; without a session, nothing more is logged."""
        self._is_deleted = self._is_deleted or is_deleted
        self.is_cancelled.set()
        self._scope.cancel()

    def reconnect(self) -> None:
        """End the client's connection, not the request; nothing happens without a log to resume from."""
        self.wants_reconnect = True
        self.has_begun.set()
        if self._reader is not None:
            self._reader.end()

    # The client's side

    def take_quick_answer(self) -> str | None:
        """The answer, where it is all that there is to send, so that no stream is needed."""
        if self._answer is None or self.wants_reconnect or len(self._unlogged) != 1:
            return None
        self.is_settled.set()
        return self._answer

    async def open_stream(self, *, is_resumable: bool) -> tuple[LogReader, StreamEvent | None]:
        """Send what comes by a stream from now on.

        Args:
            is_resumable: Begin the log with an empty event, whose id the client can come back with.

        Returns:
            What to read, and the event to begin with.
        """
        self._is_streaming = True
        first = None
        if is_resumable and (number := await self._log([""])):
            first = StreamEvent(number, "")
        self._reader = LogReader(self._streams, self.session_id, self.call.stream, 0 if first is None else first.number)
        self._tasks.start_soon(self._pump)
        return self._reader, first

    def leave(self) -> None:
        """The client has left. Without a stream it cannot come back for the answer."""
        self._reader = None
        if not self._is_streaming:
            self.is_settled.set()

    async def _pump(self) -> None:
        try:
            await self._log_all()
        finally:
            self.is_settled.set()

    async def _log_all(self) -> None:
        """Log what the handler sends, then let the client's reader have it."""
        is_over = False
        while not is_over:
            if not self._unlogged:
                self._changed = anyio.Event()
                await self._changed.wait()
            batch, self._unlogged, self._unlogged_chars = self._unlogged, [], 0
            is_over = self._answer is not None and batch[-1] is self._answer
            self._room.set()
            self._room = anyio.Event()
            number = await self._log(batch, is_final=is_over)
            if number is None:
                # Another answered in our place: this instance was taken for dead. What the log says is what counts.
                logger.warning("[MCP] A request was answered by another instance, which took this one for dead")
                if self._reader is not None:
                    self._reader.heard(())
                return
            if self._reader is not None:
                last = len(batch) - 1
                self._reader.heard(
                    [
                        StreamEvent(number + offset if number else 0, message, is_over and offset == last)
                        for offset, message in enumerate(batch)
                    ]
                )
            if is_over and number == 0 and not self._is_deleted:
                # The client has it if it is here; should it come back, it must not wait for ever.
                self._is_held_up = False
                await self._log(batch[-1:], is_final=True)

    async def _log(self, messages: list[str], *, is_final: bool = False) -> int | None:
        """The number of the first of them; 0 where that is not certain, `None` where the log has its answer."""
        if self._is_deleted:
            return 0
        # Once held up in vain, no later message is: the handler must get on.
        deadline = anyio.current_time() + (0 if self._is_held_up else HOLD_SECONDS)
        while True:
            try:
                number = await self._streams.append(
                    self.session_id, self.call.stream, messages, is_final=is_final, at=self._next_number
                )
                if number is None:
                    return None
                if self._next_number is None:
                    return 0
                self._next_number = number + len(messages)
                return number
            except StoreUnavailableError as failure:
                if anyio.current_time() >= deadline:
                    if not self._is_held_up:
                        logger.warning("[MCP] A request goes on without a log: %s", failure.message)
                    self._is_held_up = True
                    # What was tried in vain may yet be added.
                    self._next_number = None
                    return 0
                await anyio.sleep(_ASK_AGAIN_SECONDS)
