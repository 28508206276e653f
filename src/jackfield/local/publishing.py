"""`publish()`: this process tells other processes of its user which sessions it holds.

It answers at a socket of its own, from a thread: whatever an event loop of this process does, or waits for, it is
told what stands. The socket goes with the process; that of a killed one is removed by the next who looks.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

from ..errors import DaemonError, JackfieldError
from .asking import SOCKETS, remove_stale
from .directory import PrivateDirectory, peer
from .protocol import (
    HEADER,
    check_length,
    error_to_wire,
    hello,
    packed,
    process_facts,
    receive_exactly,
    unpacked,
)

logger: logging.Logger = logging.getLogger("jackfield")

_MOST_CLIENTS = 8
"""A client that connects while this many are answered is refused."""

_CLIENT_SECONDS = 5.0
"""A client sends its request at once, and reads its answer at once."""


class PublishedSessions(Protocol):
    """Sessions that can be asked about, and closed, from a thread without an event loop."""

    kind: str
    """What holds them: `gateway` or `program`."""

    def infos(self) -> Sequence[Mapping[str, Any]]:
        """How each of them stands, as JSON; `id` tells them apart. Nothing in it is secret."""
        ...

    def last_error(self) -> Mapping[str, Any] | None:
        """What went wrong last, also in sessions that are gone."""
        ...

    def close_session(self, session_id: str) -> bool:
        """Close one of them; whether it is here."""
        ...

    def refresh_session(self, session_id: str) -> bool:
        """Reopen one of them; returns whether it is here.

        Raises:
            JackfieldError: It could not be opened.
        """
        ...


def publish(sessions: PublishedSessions) -> None:
    """Tell of these sessions from now on, for as long as they are referred to. What prevents it is logged.

    Args:
        sessions: Added to others of this process.
    """
    _reset_in_forks()
    with _this_process.lock:
        _this_process.sources.add(sessions)
        if _this_process.publisher is None:
            try:
                _this_process.publisher = _Publisher(_this_process.sources)
            except (JackfieldError, OSError) as error:
                _this_process.sources.discard(sessions)
                logger.warning("[MCP] `jackfield top` cannot see the sessions of this process: %s", error)


def unpublish(sessions: PublishedSessions) -> None:
    """Do not tell of these sessions any more; with the last ones, the socket is removed."""
    with _this_process.lock:
        _this_process.sources.discard(sessions)
        if not _this_process.sources:
            _end()


class _Process:
    """What this process publishes."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a finalizer may get here while it is held
        self.sources: WeakSet[PublishedSessions] = WeakSet()
        self.publisher: _Publisher | None = None


_this_process = _Process()


def _end() -> None:
    publisher, _this_process.publisher = _this_process.publisher, None
    if publisher is not None:
        publisher.close()


@cache
def _reset_in_forks() -> None:
    def forked() -> None:
        global _this_process
        before, _this_process = _this_process, _Process()
        if before.publisher is not None:
            before.publisher.forget()

    atexit.register(_end)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forked)


class _Publisher:
    """The socket, and the thread that answers there.

    Args:
        sources: What it tells of.

    Raises:
        JackfieldError: The directory cannot be used.
        OSError: The socket cannot be made.
    """

    def __init__(self, sources: WeakSet[PublishedSessions]) -> None:
        self._sources = sources
        self._started_at = time.monotonic()
        self._clients = threading.Semaphore(_MOST_CLIENTS)
        directory = PrivateDirectory.find(create=True)
        assert directory is not None
        self._directory = directory
        self._name = f"{SOCKETS}{os.getpid()}-{secrets.token_hex(4)}.sock"
        try:
            remove_stale(directory)
            self._listener = directory.listen_at(self._name)
        except BaseException:
            directory.close()
            raise
        self._wakes, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="jackfield-published", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Remove the socket, and end the thread."""
        self._directory.unlink(self._name)
        with contextlib.suppress(OSError):
            self._wake.send(b"x")
        self._thread.join(_CLIENT_SECONDS)
        self.forget()

    def forget(self) -> None:
        """Free what a fork has of it, and leave the socket to the process whose it is."""
        for held in (self._listener, self._wakes, self._wake, self._directory):
            with contextlib.suppress(OSError):
                held.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wakes, selectors.EVENT_READ)
            while not any(key.fileobj is self._wakes for key, _ in selector.select()):
                try:
                    connection, _ = self._listener.accept()
                except OSError:  # it has gone again, or no descriptor is free
                    time.sleep(0.05)
                    continue
                if self._clients.acquire(blocking=False):
                    threading.Thread(
                        target=self._serve, args=(connection,), name="jackfield-published-answer", daemon=True
                    ).start()
                else:
                    connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError, DaemonError):
                if peer(connection)[0] not in (None, os.geteuid()):
                    return
                connection.settimeout(_CLIENT_SECONDS)
                connection.sendall(packed(hello()))
                (length,) = HEADER.unpack(receive_exactly(connection, HEADER.size))
                check_length(length)
                connection.sendall(packed(self._answer(unpacked(receive_exactly(connection, length)))))
        finally:
            self._clients.release()

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {"result": self._result(request)}
        except JackfieldError as error:
            return {"error": error_to_wire(error)}
        except Exception as error:
            logger.exception("[MCP] A request about this process's sessions failed")
            return {"error": error_to_wire(DaemonError(f"It failed: {type(error).__name__}."))}

    def _result(self, request: Mapping[str, Any]) -> object:
        sources, session_id = list(self._sources), str(request.get("id"))
        match request.get("do"):
            case "ps":
                return self._ps(sources)
            case "close_session":
                return {"found": any(source.close_session(session_id) for source in sources)}
            case "refresh_session":
                return {"found": any(source.refresh_session(session_id) for source in sources)}
            case unknown:
                raise DaemonError(f"This process does not know the request {unknown!r}.", sent=False)

    def _ps(self, sources: Sequence[PublishedSessions]) -> dict[str, Any]:
        errors = [error for source in sources if (error := source.last_error()) is not None]
        return {
            "process": process_facts(
                "gateway" if any(source.kind == "gateway" for source in sources) else "program",
                _program(),
                self._started_at,
                max(errors, key=lambda error: error["at"], default=None),
            ),
            "sessions": [info for source in sources for info in source.infos()],
        }


def _program() -> str:
    """The name of the program, without its arguments: they may be secret."""
    path = Path(sys.argv[0] if sys.argv else "")
    name = path.parent.name if path.name == "__main__.py" else path.name
    return "python" if name in ("", "-c", "-") else name
