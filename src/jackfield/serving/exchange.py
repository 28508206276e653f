"""`Exchange`: one request that runs here, and the messages that it sends to its client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import anyio
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp_types import INTERNAL_ERROR, RequestId

from .background import ENDS, Background
from .errors import ServingLimitError, StoreUnavailableError
from .log_reading import MAX_WAITING, WRITE_SECONDS, LogReader
from .outages import HOLD_SECONDS, held
from .records import RunningCall, StreamEvent
from .streams import StreamManager
from .wire import INNER_CANCELLED, LOST_INSTANCE, SESSION_ENDED, SHUT_DOWN, STORE_LOST, error, error_of, result

logger: logging.Logger = logging.getLogger("jackfield")

_STOP_SECONDS = 2.0
"""Time limit for finishing a request when this instance stops."""

_MAX_UNLOGGED = MAX_WAITING
_MAX_UNLOGGED_CHARS = 1024 * 1024
"""So much may wait for the log before the handler has to."""

_CANCELLED = -32800
"""The code that MCP's SDKs use for a request that its client cancelled."""

Handler = Callable[[], Awaitable[Mapping[str, Any]]]


class Exchange:
    """A request and its stream. Its client may disconnect and return to any instance; the request continues here.

    It has no stream until it sends something or takes long; then its answer is sent directly. With a stream, `_pump`
    logs the handler's messages and passes them to the client's connection; neither runs far ahead of the other.

    Args:
        streams: Has the stream's log.
        background: Owns the tasks that continue after the client has disconnected.
        session_id: The session.
        call: The request's entry in the session's ledger.
        request_id: The client's id of the request.
    """

    def __init__(
        self,
        streams: StreamManager,
        background: Background,
        session_id: str,
        call: RunningCall,
        request_id: RequestId,
    ) -> None:
        self.session_id: str = session_id
        self.call: RunningCall = call
        self._streams = streams
        self._background = background
        self._request_id = request_id
        self._scope = anyio.CancelScope()
        self._unlogged: list[str] = []
        self._unlogged_chars = 0
        self._next_number: int | None = 1
        """Of the next event in the log; `None` once that is not certain."""
        # Events are made by who waits for them: most requests are answered without.
        self._room: anyio.Event | None = None
        self._changed: anyio.Event | None = None
        self._settled: anyio.Event | None = None
        self._answer: str | None = None
        self.quick_answer: str | None = None
        """The answer, if it is the only message and came before there was a stream: then none is needed."""
        self._reader: LogReader | None = None
        self._has_stream = False
        self._is_resumable = False
        self._wants_reconnect = False
        self._is_deleted = False
        self.is_kept: bool = True
        """A client that comes back for the answer gets it."""
        self._is_settled = False
        """The answer is available to the client, or no one wants it."""
        self._was_cancelled = False
        self._cancelled: anyio.Event | None = None
        self._has_begun = False
        self._begun: asyncio.Future[None] | None = None

    # The handler's side

    async def run(self, handler: Handler) -> None:
        """Run the handler to its end, whatever that is, and have its answer sent."""
        try:
            with self._scope:
                self._finish(await self._outcome(handler))
            # It is answered, also where it was cancelled.
            if not self._is_settled:
                self._settled = anyio.Event()
                await self._settled.wait()
        except anyio.get_cancelled_exc_class():
            # This instance is being stopped, and with it `_pump`, which would log the answer.
            self._finish(error(self._request_id, INTERNAL_ERROR, SHUT_DOWN))
            if self._has_stream and self._unlogged:
                with anyio.move_on_after(_STOP_SECONDS, shield=True):
                    await self._deliver(self._unlogged, is_final=True)
            raise

    async def _outcome(self, handler: Handler) -> str:
        try:
            return result(self._request_id, await handler())
        except StoreUnavailableError as failure:
            logger.warning("[MCP] %s", failure.message)
            return error(self._request_id, INTERNAL_ERROR, STORE_LOST)
        except ServingLimitError as reached:
            return error(self._request_id, INTERNAL_ERROR, reached.message)
        except ENDS as failure:
            if not isinstance(failure, asyncio.CancelledError) or self._was_cancelled or _is_cancelled():
                raise
            # A task that the handler waited for was cancelled, and nobody means the handler.
            logger.error("[MCP] A request handler was cancelled by something that it awaited", exc_info=failure)
            return error(self._request_id, INTERNAL_ERROR, INNER_CANCELLED)
        except BaseException as failure:
            details = handler_exception_to_error_data(failure) if isinstance(failure, Exception) else None
            if details is not None:
                return error_of(self._request_id, details)
            logger.error("[MCP] A request handler failed", exc_info=failure)
            # As the SDK answers.
            return error(self._request_id, 0, str(failure))

    def _finish(self, answer: str) -> None:
        """Have the request answered; only the first answer counts."""
        if self._answer is None:
            self._answer = answer
            self._unlogged.append(answer)
            if len(self._unlogged) == 1 and not (self._has_stream or self._wants_reconnect):
                self.quick_answer = answer
                self._settle()
            _set(self._changed)
            _set(self._room)
            self._begin()

    def _begin(self) -> None:
        """There is something for the client: a message, the answer, or that it is to come back for it."""
        self._has_begun = True
        _resolve(self._begun)

    async def put(self, message: str) -> None:
        """Put a message on the request's stream; waits while too many wait for the log or the client's connection."""
        while len(self._unlogged) >= _MAX_UNLOGGED or self._unlogged_chars > _MAX_UNLOGGED_CHARS:
            if self._is_over:
                return
            if self._room is None or self._room.is_set():
                self._room = anyio.Event()
            await self._room.wait()
        if not self._is_over:
            self._unlogged.append(message)
            self._unlogged_chars += len(message)
            _set(self._changed)
            self._begin()

    @property
    def _is_over(self) -> bool:
        """What the handler sends goes nowhere."""
        return self._answer is not None or self._is_settled

    @property
    def cancelled(self) -> anyio.Event:
        """Is set when the request is to end early."""
        if self._cancelled is None:
            self._cancelled = anyio.Event()
            if self._was_cancelled:
                self._cancelled.set()
        return self._cancelled

    def cancel(self) -> None:
        """The client no longer wants an answer."""
        self._end(error(self._request_id, _CANCELLED, "Request cancelled"))

    def session_ended(self) -> None:
        """The session no longer exists, so nothing is logged; a client that is still connected is answered."""
        self._is_deleted = True
        self._end(error(self._request_id, INTERNAL_ERROR, SESSION_ENDED))

    def stop(self) -> None:
        """This instance stops."""
        self._end(error(self._request_id, INTERNAL_ERROR, SHUT_DOWN))

    def answered_elsewhere(self) -> None:
        """Another instance answered for this one. What the log says counts; without a stream, this is the answer."""
        self._end(error(self._request_id, INTERNAL_ERROR, LOST_INSTANCE))

    def _end(self, answer: str) -> None:
        # The answer does not wait for the handler, which may take its time, in a thread for instance.
        self._finish(answer)
        self._was_cancelled = True
        _set(self._cancelled)
        self._scope.cancel()

    # The client's side

    async def begun(self, seconds: float) -> None:
        """Wait until there is something for the client, but no longer than this."""
        # Most handlers end in their first step, which takes less than a timer does.
        await asyncio.sleep(0)
        if self._has_begun:
            return
        loop = asyncio.get_running_loop()
        self._begun = loop.create_future()
        timer = loop.call_later(seconds, _resolve, self._begun)
        try:
            await self._begun
        finally:
            timer.cancel()

    def open_stream(self, *, is_resumable: bool) -> LogReader:
        """Send what comes by a stream from now on; returns what to read.

        Args:
            is_resumable: Begin the log with an empty event, whose id the client can come back with.
        """
        self._has_stream, self._is_resumable = True, is_resumable
        self._reader = reader = LogReader(self._streams, self.session_id, self.call.stream, 0)
        self._background.start(self._pump)
        return reader

    def reconnect(self) -> None:
        """End the client's connection, not the request: the client is to come back for the rest."""
        self._wants_reconnect = True
        self._begin()
        if self._next_number not in (1, None) and self._reader is not None:
            # It has an id to come back with.
            self._reader.end()

    def move(self) -> None:
        """Let the client come back to another instance, if it has a stream and can."""
        if self._is_resumable:
            self.reconnect()

    def leave(self) -> None:
        """The client has left. Without a stream it cannot come back for the answer."""
        self._reader = None
        if not self._has_stream:
            self._settle()

    def _settle(self) -> None:
        self._is_settled = True
        _set(self._settled)
        _set(self._room)

    # The stream

    async def _pump(self) -> None:
        reader = self._reader
        try:
            if self._is_resumable:
                await self._deliver([""])
            if self._wants_reconnect:
                self.reconnect()
            while not self._is_settled:
                while not self._unlogged:
                    self._changed = anyio.Event()
                    await self._changed.wait()
                batch, self._unlogged, self._unlogged_chars = self._unlogged, [], 0
                is_final = self._answer is not None
                _set(self._room)
                await self._deliver(batch, is_final=is_final)
                if is_final:
                    self._settle()
        except BaseException:
            if reader is not None:
                reader.end()
            raise
        finally:
            self._settle()

    async def _deliver(self, messages: list[str], *, is_final: bool = False) -> None:
        """Log messages, then let the client's connection have them."""
        number = await self._log(messages, is_final=is_final)
        reader = self._reader
        self.is_kept = number != 0 or self._is_deleted
        if number is None:
            # Another answered in our place: this instance was taken for dead. What the log says is what counts.
            logger.warning("[MCP] A request was answered by another instance, which considered this one dead")
            self._settle()
            if reader is not None:
                reader.heard(())
            return
        if reader is not None and (number or messages != [""]):
            with anyio.move_on_after(WRITE_SECONDS):
                await reader.taken()
            last = len(messages) - 1
            # A log that the store lost begins again: its numbers are not those that the client knows.
            is_known = bool(number) and self._next_number is not None
            reader.heard(
                [
                    StreamEvent(number + offset if is_known else 0, message, is_final and offset == last)
                    for offset, message in enumerate(messages)
                ]
            )

    async def _log(self, messages: list[str], *, is_final: bool) -> int | None:
        """The number of the first of them; 0 if that is uncertain, `None` if the log already has its answer."""
        if self._is_deleted:
            return 0
        append = partial(
            self._streams.append,
            self.session_id,
            self.call.stream,
            messages,
            is_final=is_final,
            at=self._next_number,
        )
        try:
            # Once held up in vain, no later message is: the handler must get on.
            number = await held(append, HOLD_SECONDS if self._next_number is not None else 0)
        except StoreUnavailableError as failure:
            if self._next_number is not None:
                logger.warning("[MCP] A request continues without a log: %s", failure.message)
            # What was tried in vain may yet be added.
            self._next_number = None
            return 0
        if number is not None and self._next_number is not None:
            self._next_number = number + len(messages)
        return number


def _is_cancelled() -> bool:
    """Whether the current task is being cancelled from outside."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _set(event: anyio.Event | None) -> None:
    if event is not None:
        event.set()
