"""One HTTP/1.1 connection, without an event loop: h11 knows the protocol, and what waits here ends by signals.

Source: RFC 9112.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import h11

from .interrupts import NotConnectedError, OutOfTimeError

if TYPE_CHECKING:
    import ssl
    from urllib.parse import SplitResult

    from .interrupts import Interrupts

_READ_BYTES = 65536
_CONNECT_SECONDS = 2.0
"""For one address. The library, to which it is left then, tries several at the same time, and waits longer."""

Header = tuple[str, str]


class UnreachedError(Exception):
    """There is no connection; nothing was sent."""


class BrokenError(Exception):
    """The connection broke."""


class Head(NamedTuple):
    """The beginning of an answer."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    """By their names in lower case."""

    def value(self, name: bytes) -> str:
        """The value of a header; empty if there is none."""
        return next((value for known, value in self.headers if known == name), b"").decode("latin-1")

    @property
    def media_type(self) -> str:
        """The kind of the body, without its parameters."""
        return self.value(b"content-type").partition(";")[0].strip().lower()


class Connection:
    """A connection to the server of a URL.

    Args:
        parts: Of the URL.
        interrupts: End the waiting.
        until: When it is too late, on the monotonic clock.

    Raises:
        UnreachedError: It cannot be had.
        NotConnectedError: It is too late.
    """

    def __init__(self, parts: SplitResult, interrupts: Interrupts, until: float) -> None:
        self._interrupts = interrupts
        self._protocol = h11.Connection(h11.CLIENT)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            self._socket: socket.socket | ssl.SSLSocket = self._connected(host, port, until)
            if parts.scheme == "https":
                self._socket = self._secured(self._socket, host, until)
        except OutOfTimeError:
            raise NotConnectedError from None

    def _connected(self, host: str, port: int, until: float) -> socket.socket:
        for family, kind, protocol, _, address in self._addresses(host, port, until):
            one = socket.socket(family, kind, protocol)
            one.setblocking(False)
            try:
                with contextlib.suppress(BlockingIOError):
                    one.connect(address)
                self._interrupts.wait([], [one.fileno()], min(until, time.monotonic() + _CONNECT_SECONDS))
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise ConnectionError
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except (OSError, OutOfTimeError):
                one.close()
                if time.monotonic() >= until:
                    raise OutOfTimeError from None
            except BaseException:
                one.close()
                raise
            else:
                return one
        raise UnreachedError

    def _addresses(self, host: str, port: int, until: float) -> Sequence[tuple[Any, ...]]:
        """The addresses of a host. A name may take long to be resolved, which nothing can interrupt."""
        kind = socket.SOCK_STREAM
        with contextlib.suppress(OSError):
            return socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
        found: list[tuple[Any, ...]] = []
        readable, writable = os.pipe()

        def resolve() -> None:
            try:
                with contextlib.suppress(OSError):
                    found.extend(socket.getaddrinfo(host, port, type=kind))
            finally:
                os.close(writable)

        threading.Thread(target=resolve, daemon=True).start()
        try:
            self._interrupts.wait([readable], [], until)
        finally:
            os.close(readable)
        return found

    def _secured(self, plain: socket.socket, host: str, until: float) -> ssl.SSLSocket:
        import ssl

        try:
            secured = ssl.create_default_context().wrap_socket(
                plain, server_hostname=host, do_handshake_on_connect=False
            )
        except (OSError, ValueError):
            plain.close()
            raise UnreachedError from None
        try:
            while True:
                try:
                    secured.do_handshake()
                except ssl.SSLWantReadError:
                    self._interrupts.wait([secured.fileno()], [], until)
                except ssl.SSLWantWriteError:
                    self._interrupts.wait([], [secured.fileno()], until)
                except OSError:
                    raise UnreachedError from None
                else:
                    return secured
        except BaseException:
            secured.close()
            raise

    @property
    def is_free(self) -> bool:
        """Whether another request can be sent."""
        if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
        # A server that closes it, or says something unasked, is readable.
        is_idle = self._protocol.our_state is h11.IDLE and self._protocol.their_state is h11.IDLE
        return is_idle and not select.select([self._socket.fileno()], [], [], 0)[0]

    def ask(self, method: str, target: str, headers: Sequence[Header], body: bytes, until: float) -> Head:
        """Send a request, and read the beginning of the answer.

        Raises:
            BrokenError: There is none.
            OutOfTimeError: It does not come in time.
        """
        request = h11.Request(method=method, target=target, headers=list(headers))
        data = b"".join(
            self._protocol.send(part) or b"" for part in (request, *([h11.Data(data=body)] if body else ()), _END)
        )
        broken: BrokenError | None = None
        try:
            self._write(data, until)
        except BrokenError as error:
            broken = error  # It may have answered all the same, such as that the body is too long.
        try:
            while not isinstance(event := self._event(until), h11.Response):
                if not isinstance(event, h11.InformationalResponse):
                    raise BrokenError("Server disconnected without sending a response.")
        except BrokenError:
            if broken is not None:
                raise broken from None
            raise
        return Head(event.status_code, list(event.headers))

    def body(self, until: float) -> Iterator[bytes]:
        """The body of the answer, piece by piece.

        Raises:
            BrokenError: It is not whole.
            OutOfTimeError: The next piece does not come in time.
        """
        while isinstance(event := self._event(until), h11.Data):
            yield bytes(event.data)

    def _event(self, until: float) -> Any:
        while True:
            try:
                event = self._protocol.next_event()
            except h11.RemoteProtocolError as error:
                raise BrokenError(str(error)) from None
            if event is not h11.NEED_DATA:
                return event
            data = self._read(until)
            if not data and self._protocol.their_state is h11.SEND_RESPONSE:
                raise BrokenError("Server disconnected without sending a response.")
            self._protocol.receive_data(data)

    def _read(self, until: float) -> bytes:
        import ssl

        while True:
            try:
                return self._socket.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._interrupts.wait([self._socket.fileno()], [], until)
            except ssl.SSLWantWriteError:
                self._interrupts.wait([], [self._socket.fileno()], until)
            except OSError as error:
                raise BrokenError(str(error)) from None

    def _write(self, data: bytes, until: float) -> None:
        import ssl

        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._interrupts.wait([], [self._socket.fileno()], until)
            except ssl.SSLWantReadError:
                self._interrupts.wait([self._socket.fileno()], [], until)
            except OSError as error:
                raise BrokenError(str(error)) from None

    def close(self) -> None:
        """Close it, whatever is under way."""
        self._socket.close()


_END = h11.EndOfMessage()
