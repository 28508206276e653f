"""The listening daemon: it accepts connections with one request each.

A request is cancelled when its client disconnects. The daemon exits when it has kept no session and no client for
a while, on request, on SIGTERM, and when another daemon takes its place; it then closes all servers.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from ..errors import DaemonError, JackfieldError, SessionTerminatedError
from ..local.directory import peer
from ..local.protocol import (
    ALIVE_SECONDS,
    HEADER,
    check_length,
    error_to_wire,
    hello,
    packed,
    unpacked,
)
from ..loops import Changed
from .folder import Place
from .leftovers import end_leftovers
from .log import log_path

if TYPE_CHECKING:
    from .requests import Requests

logger: logging.Logger = logging.getLogger("jackfield")

# A client sends its request at once, and reads its answer at once, unless it was stopped.
_REQUEST_SECONDS = 10.0
_SEND_SECONDS = 60.0

# What clients may take to read that the process ends.
_FAREWELL_SECONDS = 2.0

_PLACE_SECONDS = 30.0

MAX_CONNECTIONS = 200

# Progress that a slow client has not read yet; what comes beyond is dropped.
_WAITING_FRAMES = 100

_ALIVE = packed({"alive": True})


class DaemonServer:
    """The background process.

    Args:
        place: Its directory.
        lock: The locked file, as a descriptor.
        daemon_id: Marks the processes that it starts.
        earlier: The id of a killed predecessor, or empty.
        linger: Seconds it stays without a session and a client.
    """

    def __init__(self, place: Place, lock: int, daemon_id: str, earlier: str, linger: float) -> None:
        self._place = place
        self._lock = lock
        self._daemon_id = daemon_id
        self._earlier = earlier
        self._linger = linger
        self._started_at = time.monotonic()
        self._connections = 0
        self._active: set[_Exchange] = set()
        self._requests: Requests | None = None
        self._is_empty: Callable[[], bool] = lambda: True
        self._changed = Changed()
        self._loaded = anyio.Event()
        self._ended = anyio.Event()

    async def run(self, listener: socket.socket) -> None:
        """Serve until it is time to exit; returns when everything is closed."""
        async with await anyio.abc.SocketListener.from_socket(listener) as incoming, anyio.create_task_group() as tasks:
            tasks.start_soon(self._heed_signals)
            tasks.start_soon(self._accept, incoming, tasks)
            tasks.start_soon(self._watch_place)
            tasks.start_soon(self._clean_up)
            # Importing the SDK takes a second, in which commands can connect already.
            requests = await anyio.to_thread.run_sync(importlib.import_module, "jackfield.daemon.requests")
            sessions = importlib.import_module("jackfield.daemon.sessions")
            async with sessions.KeptSessions(self._daemon_id, self._note_change) as kept:
                self._is_empty = lambda: not len(kept)
                self._requests = requests.Requests(kept, self._end, self._started_at)
                self._loaded.set()
                tasks.start_soon(kept.expire_forever)
                tasks.start_soon(kept.prepare_forever)
                tasks.start_soon(self._end_when_unused)
                await self._ended.wait()
                # A client that connects now finds no daemon, and starts the next one when this process has exited.
                self._place.remove_socket(self._lock)
                await incoming.aclose()
                await self._say_farewell()
            tasks.cancel_scope.cancel()

    # Ending

    def _end(self) -> None:
        self._ended.set()

    async def _heed_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number != signal.SIGHUP:
                    logger.info("Stopping: received %s", number.name)
                    self._end()

    async def _end_when_unused(self) -> None:
        while True:
            unused = self._connections == 0 and self._is_empty()
            with anyio.move_on_after(self._linger if unused else None):
                await self._changed.wait()
                continue
            logger.info("No sessions left to keep")
            self._end()
            return

    async def _clean_up(self) -> None:
        if self._earlier and (count := await anyio.to_thread.run_sync(end_leftovers, self._earlier)):
            logger.warning("Terminated %d processes left by a killed background process", count)

    async def _watch_place(self) -> None:
        # A file that is removed gives no sign.
        while self._place.has_lock(self._lock):  # noqa: ASYNC110
            await anyio.sleep(_PLACE_SECONDS)
        logger.warning("The lock file was removed: another background process may have started")
        self._end()

    async def _say_farewell(self) -> None:
        """Inform every client, including those that connect just now."""
        for exchange in self._active:
            exchange.end()
        with anyio.move_on_after(_FAREWELL_SECONDS):
            while self._connections:
                await self._changed.wait()

    def _note_change(self) -> None:
        self._changed.set()

    # Connections

    async def _accept(self, incoming: anyio.abc.SocketListener, tasks: anyio.abc.TaskGroup) -> None:
        while not self._ended.is_set():
            try:
                stream = await incoming.accept()
            except anyio.ClosedResourceError:
                return
            except OSError as error:  # no descriptor is free
                logger.warning("A connection could not be accepted: %s", error)
                await anyio.sleep(1)
            else:
                tasks.start_soon(self._serve, stream)

    async def _serve(self, stream: anyio.abc.SocketStream) -> None:
        self._connections += 1
        self._note_change()
        try:
            async with stream:
                user, _ = peer(stream.extra(anyio.abc.SocketAttribute.raw_socket))  # noqa: S610
                if user in (None, os.geteuid()) and self._connections <= MAX_CONNECTIONS:
                    await self._greet(stream)
        except Exception as error:
            if _is_gone(error):
                logger.debug("A client disconnected: %r", error)
            else:
                logger.exception("A connection failed")
        finally:
            self._connections -= 1
            self._note_change()

    async def _greet(self, stream: anyio.abc.SocketStream) -> None:
        await stream.send(packed(hello()))
        try:
            with anyio.fail_after(_REQUEST_SECONDS):
                request = await _read(stream)
        except DaemonError as error:
            await stream.send(packed({"error": error_to_wire(error)}))
            return
        await self._loaded.wait()
        if self._ended.is_set():
            await stream.send(packed({"ending": True}))
            return
        assert self._requests
        exchange = _Exchange(stream, self._requests, request)
        self._active.add(exchange)
        try:
            await exchange.run()
        finally:
            self._active.discard(exchange)


class _Exchange:
    """One request and its answer."""

    def __init__(self, stream: anyio.abc.SocketStream, requests: Requests, request: dict[str, Any]) -> None:
        self._stream = stream
        self._requests = requests
        self._request = request
        self._work = anyio.CancelScope()
        self._outbox, self._to_send = anyio.create_memory_object_stream[bytes](_WAITING_FRAMES)
        self._answer: bytes | None = None

    def end(self) -> None:
        """Answer that the process ends, whatever is under way."""
        self._work.cancel()

    async def run(self) -> None:
        """Execute the request and answer it; cancelled when the client disconnects."""
        with self._outbox, self._to_send:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, tasks.cancel_scope)
                tasks.start_soon(self._do)
                await self._tell()
                tasks.cancel_scope.cancel()

    async def _watch(self, scope: anyio.CancelScope) -> None:
        """A client says nothing after its request; whatever comes is its end."""
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._stream.receive(1)
        scope.cancel()

    async def _do(self) -> None:
        answer = packed({"error": error_to_wire(_ended())})
        with self._work:
            answer = await self._answered()
        self._answer = answer
        self._outbox.close()

    async def _answered(self) -> bytes:
        try:
            return await self._requests.answer(self._request, self._progress)
        except JackfieldError as error:
            return packed({"error": error_to_wire(error)})
        except Exception as error:
            logger.exception("A request failed")
            return packed({"error": error_to_wire(_fault(error))})

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        # A client that does not read must not hold up the session for others.
        with contextlib.suppress(anyio.WouldBlock, anyio.ClosedResourceError):
            self._outbox.send_nowait(packed({"progress": [progress, total, message]}))

    async def _tell(self) -> None:
        """Send what comes, a sign of life where nothing does, and at last the answer."""
        while True:
            frame = _ALIVE
            with anyio.move_on_after(ALIVE_SECONDS):
                try:
                    frame = await self._to_send.receive()
                except anyio.EndOfStream:
                    break
            await self._send(frame)
        assert self._answer
        await self._send(self._answer)

    async def _send(self, frame: bytes) -> None:
        with anyio.fail_after(_SEND_SECONDS):
            await self._stream.send(frame)


async def _read(stream: anyio.abc.SocketStream) -> dict[str, Any]:
    """A client's request.

    Raises:
        DaemonError: It is not a request.
    """
    incoming = BufferedByteReceiveStream(stream)
    (length,) = HEADER.unpack(await incoming.receive_exactly(HEADER.size))
    check_length(length)
    return unpacked(await incoming.receive_exactly(length))


def _is_gone(error: Exception) -> bool:
    """Whether a client went away, or did not read for too long: a `TimeoutError` is an `OSError`."""
    if isinstance(error, ExceptionGroup):
        return all(map(_is_gone, cast("ExceptionGroup[Exception]", error).exceptions))
    gone = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.IncompleteRead, anyio.EndOfStream)
    return isinstance(error, gone)


def _ended() -> SessionTerminatedError:
    return SessionTerminatedError(
        "The background process was stopped, and its sessions were closed.",
        state_lost=True,
        hint="Reopen the session: jackfield open SERVER. Running calls may have taken effect.",
    )


def _fault(error: Exception) -> DaemonError:
    return DaemonError(
        f"Internal error in Jackfield's background process: {type(error).__name__}.",
        hint=f"For details, see its log: {log_path()}",
    )
