"""`OneWriteProtocol`: connections of uvicorn whose answers leave in one piece, and that end if their clients are slow.

uvicorn writes the head of an answer and its body one after the other. Each is a system call, and wakes the client.
Requests of one path may be answered without uvicorn and ASGI, which cost more than such a request does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, cast

import h11
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from .slow_clients import Patience, WaitingClients

if TYPE_CHECKING:
    from uvicorn.protocols.http.flow_control import FlowControl

    class _Cycle:
        response_complete: bool

    class _Protocol(asyncio.Protocol):
        """What both of uvicorn's have."""

        loop: asyncio.AbstractEventLoop
        transport: asyncio.Transport
        flow: FlowControl
        cycle: _Cycle | None
        tasks: set[asyncio.Task[None]]
        timeout_keep_alive: int
        timeout_keep_alive_task: asyncio.TimerHandle | None

        def __init__(self, **given: Any) -> None: ...
        def pause_writing(self) -> None: ...
        def resume_writing(self) -> None: ...
        def shutdown(self) -> None: ...
        def timeout_keep_alive_handler(self) -> None: ...
        def _unset_keepalive_if_required(self) -> None: ...
        def on_message_begin(self) -> None: ...
        def on_message_complete(self) -> None: ...
else:
    _Protocol = AutoHTTPProtocol


class HttpConnection(Protocol):
    """A connection of a client."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    tasks: set[asyncio.Task[None]]
    """Those that answer requests: they are waited for at the end."""

    async def drain(self) -> None:
        """Wait while too much is not sent yet."""
        ...

    def answered(self) -> None:
        """A request that was taken directly is answered."""
        ...


class DirectConnection(Protocol):
    """Takes requests of a connection."""

    @property
    def is_idle(self) -> bool:
        """Whether all requests that came in have been answered."""
        ...

    def feed(self, data: bytes) -> None:
        """Take what came in."""
        ...

    def lost(self) -> None:
        """The connection has ended."""
        ...


class Direct(Protocol):
    """Takes requests that begin in a certain way from their connections."""

    @property
    def beginning(self) -> bytes:
        """What such a request begins with."""
        ...

    def connected(self, http: HttpConnection) -> DirectConnection:
        """Such a request came by a connection for the first time."""
        ...


class OneWriteProtocol(_Protocol):
    """The protocol that uvicorn chooses, whichever that is.

    Args:
        given: As uvicorn gives it.
        direct: Takes some requests itself.
        waiting: All connections of which a request is awaited.
    """

    def __init__(self, *, direct: Direct | None = None, waiting: WaitingClients | None = None, **given: Any) -> None:
        super().__init__(**given)
        self._direct = direct
        self._waiting = waiting
        self._connection: DirectConnection | None = None
        self._is_ending = False
        self._is_within_message = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio calls it."""
        whole = cast("asyncio.Transport", _OneWrite(cast("asyncio.Transport", transport)))
        super().connection_made(whole)
        self._patience = Patience(self.loop, whole, self._waiting)

    def data_received(self, data: bytes) -> None:
        """As asyncio calls it."""
        if self._is_direct(data):
            self._unset_keepalive_if_required()
            assert self._connection is not None
            # It has its own patience with them.
            self._patience.received(is_whole=True)
            self._connection.feed(data)
        else:
            # Until httptools says that it is complete: it says nothing of blank lines before a request.
            self._is_within_message = True
            super().data_received(data)
            self._patience.received(is_whole=self._has_whole_request())

    def _is_direct(self, data: bytes) -> bool:
        if self._direct is None:
            return False
        if self._connection is not None and not self._connection.is_idle:
            return True
        if not data.startswith(self._direct.beginning) or not self._is_between_requests():
            return False
        if self._connection is None:
            self._connection = self._direct.connected(self)
        return True

    def _is_between_requests(self) -> bool:
        """Whether all that came is answered requests. What looks like a request may be a piece of one: where a proxy
        sends requests of several clients by one connection, its answer would be taken for that of another client."""
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        connection: h11.Connection | None = getattr(self, "conn", None)
        if connection is None:
            return not self._is_within_message
        return connection.their_state is h11.IDLE and not connection.trailing_data[0]

    def _has_whole_request(self) -> bool:
        connection: h11.Connection | None = getattr(self, "conn", None)
        if connection is None:
            return not self._is_within_message
        return connection.their_state not in (h11.IDLE, h11.SEND_BODY)

    def on_message_begin(self) -> None:
        """As httptools calls it."""
        self._is_within_message = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """As httptools calls it."""
        self._is_within_message = False
        super().on_message_complete()

    async def drain(self) -> None:
        """Wait while too much is not sent yet."""
        await self.flow.drain()

    def answered(self) -> None:
        """A request that was taken directly is answered."""
        if self._is_ending:
            self.shutdown()
        else:
            self._unset_keepalive_if_required()
            timer = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
            self.timeout_keep_alive_task: asyncio.TimerHandle | None = timer

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio calls it."""
        self._patience.end()
        if self._connection is not None:
            self._connection.lost()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """As asyncio calls it."""
        super().pause_writing()
        self._patience.paused()

    def resume_writing(self) -> None:
        """As asyncio calls it."""
        super().resume_writing()
        self._patience.resumed()

    def shutdown(self) -> None:
        """As uvicorn calls it when it ends: what is under way is answered."""
        self._is_ending = True
        if self._connection is None or self._connection.is_idle:
            super().shutdown()


class _OneWrite:
    """A transport that writes what one step of the event loop gives it together, at the step's end.

    Args:
        inner: Everything else is its business.
    """

    def __init__(self, inner: asyncio.Transport) -> None:
        self._inner = inner
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        # Parts are gone already where it was closed in the same step.
        if parts:
            self._inner.write(b"".join(parts))

    def get_write_buffer_size(self) -> int:
        return self._inner.get_write_buffer_size() + sum(map(len, self._parts))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._flush()
        self._inner.set_protocol(protocol)

    def close(self) -> None:
        self._flush()
        self._inner.close()
