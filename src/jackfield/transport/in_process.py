"""In-process transport: a server object of this program, run in a task of its session.

Messages are passed as JSON, as over any other transport: neither side can change the other's objects, a result that
could not be sent over a wire is an error here too, and the limits on messages apply.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Protocol, Self, cast

import anyio
from anyio.abc import TaskStatus
from mcp.server import MCPServer, Server
from mcp.shared.message import SessionMessage
from mcp.types import CONNECTION_CLOSED, JSONRPCError, JSONRPCNotification, JSONRPCResponse

from ..config.server_objects import kind_of
from ..config.servers import InProcessConfig
from ..errors import JackfieldError, ServerStartError, SessionTerminatedError, root_cause
from .bad_answers import too_long, unreadable, unreadable_answer
from .report import ConnectionReport
from .scanning import MessageScanner
from .sdk import MessageReader, MessageWriter, read_message
from .stdio import message_text

# How many messages a server may be ahead of its reader before it waits.
_UNREAD_MESSAGES = 16

# A run that ends answers what is under way with an error, and closes its stream right after that.
_STREAM_SECONDS = 0.1

# How long a run whose stream is closed may take to leave its lifespan; only then it is known why it ended.
_END_SECONDS = 1.0


class _FromServer(Protocol):
    async def receive(self) -> SessionMessage | Exception: ...
    async def aclose(self) -> None: ...


class _ToServer(Protocol):
    async def send(self, item: Any, /) -> None: ...
    async def aclose(self) -> None: ...


_Streams = tuple[_FromServer, _ToServer]


@asynccontextmanager
async def in_process_transport(
    config: InProcessConfig, report: ConnectionReport
) -> AsyncGenerator[tuple[_ServerReader, _ServerWriter]]:
    """Run the server, and yield its message streams.

    On exit the server's input ends. It has `close_timeout` to finish, and is cancelled after that.

    Raises:
        ServerStartError: It failed before it could be spoken to.
    """
    run = _ServerRun(config, report)
    async with anyio.create_task_group() as tasks:
        try:
            from_server, to_server = await tasks.start(run)
            yield _ServerReader(from_server, report, run), _ServerWriter(to_server, report)
        finally:
            await run.stop(config.session.close_timeout)
            report.mark_lost()


class _ServerRun:
    """One run of the server, from its lifespan's start to its end. The session's own cancellation does not reach it."""

    def __init__(self, config: InProcessConfig, report: ConnectionReport) -> None:
        self._config = config
        self._report = report
        self._scope = anyio.CancelScope(shield=True)
        self._is_to_stop = anyio.Event()
        self.ended: anyio.Event = anyio.Event()
        self.has_answered: bool = False
        self._streams: _Streams | None = None

    async def __call__(self, *, task_status: TaskStatus[_Streams]) -> None:
        def started(from_server: _FromServer, to_server: _ToServer) -> None:
            self._streams = from_server, to_server
            task_status.started(self._streams)

        server = self._config.server
        run = self._run_fastmcp if kind_of(server) == "fastmcp" else self._run_sdk
        try:
            with self._scope:
                await run(server, started)
        except Exception as error:
            self._report.failure = failure = self._failure(error)
            if self._streams is None:
                raise failure from None
        finally:
            self.ended.set()

    async def stop(self, seconds: float) -> None:
        """End its input, wait for it to end, and cancel it after that many seconds."""
        with anyio.move_on_after(seconds, shield=True):
            for stream in self._streams or ():
                await stream.aclose()
            self._is_to_stop.set()
            await self.ended.wait()
        self._scope.cancel()

    async def _run_sdk(self, server: object, started: Callable[[_FromServer, _ToServer], None]) -> None:
        low_level = low_level_server(cast("Server[Any] | MCPServer[Any]", server))
        # Its input is never full: a caller that gives up must not wait to say so.
        to_server, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](float("inf"))
        outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](_UNREAD_MESSAGES)
        started(from_server, to_server)
        async with incoming, outgoing:
            await low_level.run(incoming, outgoing, low_level.create_initialization_options())

    async def _run_fastmcp(self, server: object, started: Callable[[_FromServer, _ToServer], None]) -> None:
        transports = importlib.import_module("fastmcp.client.transports")
        options = importlib.import_module("fastmcp.client.transports.base").TransportOptions(
            session_class=_FastMCPStreams
        )
        transport = transports.FastMCPTransport(server)
        async with transport.connect_session(transport_options=options) as streams:
            started(streams.from_server, streams.to_server)
            await self._is_to_stop.wait()

    def _failure(self, error: Exception) -> JackfieldError:
        cause = root_cause(error)
        happened = f"raised {type(cause).__name__}: {cause}".rstrip(": ")
        output = "".join(traceback.format_exception(cause))
        # A child process would have written it there.
        self._report.stderr.add(output.encode())
        name = self._config.server_name
        if not self.has_answered:
            return ServerStartError(
                f"Server {name!r}, {self._config.address}, {happened}.",
                server_name=name,
                sent=False,
                server_output=output,
                hint="It failed before it answered, perhaps in its lifespan; `server_output` has the traceback.",
            )
        return SessionTerminatedError(
            f"Session of server {name!r} was lost: the server {happened}.",
            server_name=name,
            state_lost=True,
            retryable=True,
            server_output=output,
            hint="`server_output` has the traceback.",
        )


def low_level_server(server: Server[Any] | MCPServer[Any]) -> Server[Any]:
    """The low-level server inside an `MCPServer`, which shows it by its manager of HTTP sessions only."""
    if isinstance(server, Server):
        return server
    try:
        return server.session_manager.app
    except RuntimeError:
        # None was made so far. One that nobody runs costs nothing, and making an application later replaces it.
        server.streamable_http_app()
        return server.session_manager.app


class _FastMCPStreams:
    """Takes the place of the client session that fastmcp makes of its streams."""

    def __init__(self, read_stream: _FromServer, write_stream: _ToServer, **options: object) -> None:
        self.from_server = read_stream
        self.to_server = write_stream

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class _ServerReader(MessageReader):
    """Reads what the server sends."""

    def __init__(self, inner: _FromServer, report: ConnectionReport, run: _ServerRun) -> None:
        self._inner = inner
        self._report = report
        self._run = run
        self._limit = report.config.session.max_message_bytes
        self._ahead: list[SessionMessage | Exception] = []

    async def receive(self) -> SessionMessage | Exception:
        while True:
            try:
                item = await self._next()
            except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                with anyio.move_on_after(_END_SECONDS):
                    await self._run.ended.wait()
                self._report.mark_lost()
                raise anyio.EndOfStream from None
            message = self._crossed(item) if isinstance(item, SessionMessage) else None
            if message is None:
                continue
            if not isinstance(message.message, JSONRPCNotification):
                self._run.has_answered = True
                self._report.requests.arrived(message.message)
                return message
            if self._report.admits_notification():
                return message

    async def _next(self) -> SessionMessage | Exception:
        """The next message.

        The answers of a run that ends are dropped: that the session was lost says more than "Connection closed".
        """
        coming = self._ahead or [await self._inner.receive()]
        while _says_closed(coming[-1]):
            with anyio.move_on_after(_STREAM_SECONDS) as scope:
                coming.append(await self._inner.receive())
            if scope.cancelled_caught:
                break
        item, *self._ahead = coming
        return item

    def _crossed(self, item: SessionMessage) -> SessionMessage | None:
        """The message as it is on this side."""
        try:
            text = message_text(item).encode()
        except (ValueError, JackfieldError) as error:
            return self._unsendable(item, error)
        if len(text) > self._limit:
            return too_long(self._report, MessageScanner(text), len(text))
        read = read_message(text)
        return unreadable(self._report, text) if read is None else SessionMessage(read.message)

    def _unsendable(self, item: SessionMessage, error: Exception) -> SessionMessage | None:
        message = item.message
        self._report.log.warning("The server's message cannot be sent as JSON: %.300s", error)
        answered = message.id if isinstance(message, JSONRPCResponse | JSONRPCError) else None
        record = self._report.requests.waiting(answered)
        return None if record is None else unreadable_answer(self._report, str(error).encode(), record)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _ServerWriter(MessageWriter):
    """Writes what the server gets."""

    def __init__(self, inner: _ToServer, report: ConnectionReport) -> None:
        self._inner = inner
        self._requests = report.requests

    async def send(self, item: SessionMessage, /) -> None:
        text = message_text(item)
        read = read_message(text.encode())
        assert read
        record = self._requests.begin(item.message)
        if record is not None:
            record.became(None)
        await self._inner.send(SessionMessage(read.message))
        if record is not None:
            record.became(True)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _says_closed(item: SessionMessage | Exception) -> bool:
    message = item.message if isinstance(item, SessionMessage) else None
    return isinstance(message, JSONRPCError) and message.error.code == CONNECTION_CLOSED
