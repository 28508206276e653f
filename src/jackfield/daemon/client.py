"""The lightweight client of the daemon: no asyncio, no pydantic, no SDK.

Each request has its own connection, so that aborting it (Ctrl-C, any exception) cancels the request in the
daemon. If no daemon runs, a request that needs one starts it; other requests have nothing to ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from ..errors import DaemonError
from ..local.directory import peer
from ..local.protocol import (
    HEADER,
    HELLO,
    PROTOCOL,
    SILENCE_SECONDS,
    check_length,
    error_from_wire,
    packed,
    receive_exactly,
    unpacked,
)
from .folder import Place

# How long a process that holds the lock may be busy with starting, or with ending: its servers' close_timeout.
_SETTLE_SECONDS = 30.0

# It greets before it imports anything big; on a busy machine that takes its time all the same.
_HELLO_SECONDS = 20.0

_POLL_SECONDS = 0.02

_END_IT = "To stop it and close its sessions: jackfield close --all"

ProgressListener = Callable[[float, float | None, str | None], object]


class Connection:
    """A connection to a daemon, after its greeting.

    Raises:
        OSError: Nothing listens, or the connection was closed immediately.
        DaemonError: The listener is not ours, or hangs.
    """

    def __init__(self, place: Place) -> None:
        self._socket = place.connect(_HELLO_SECONDS)
        try:
            self.process_id: int | None = peer(self._socket)[1]
            hello = self._hello()
            self.protocol: int = hello["protocol"]
            self.version: str = hello["version"]
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(SILENCE_SECONDS)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def _hello(self) -> dict[str, Any]:
        try:
            hello = self._read(HEADER.size + 1000)
        except TimeoutError:
            raise HungError(self.process_id) from None
        except DaemonError:
            hello = {}
        if hello.get("i_am") != HELLO:
            raise DaemonError(
                "Something other than Jackfield's background process answers on the socket of kept sessions.",
                sent=False,
                hint=_END_IT,
            )
        return hello

    def ask(self, request: Mapping[str, Any], on_progress: ProgressListener | None = None) -> dict[str, Any]:
        """Make the request and wait for its answer.

        Raises:
            JackfieldError: As it was raised in the background process.
            DaemonError: It hangs, or ended without an answer; `sent` is `None`.
        """
        frame = packed(request)
        try:
            self._socket.sendall(frame)
            while True:
                message = self._read()
                if progress := message.get("progress"):
                    if on_progress is not None:
                        on_progress(*progress)
                elif "alive" not in message:
                    break
        except TimeoutError:
            raise HungError(self.process_id, sent=None) from None
        except OSError:
            raise DaemonError(
                "The background process ended without an answer; the request may have taken effect.",
                state_lost=True,
                hint="Open the session again: jackfield open SERVER.",
            ) from None
        if "error" in message:
            raise error_from_wire(message["error"])
        return message

    def _read(self, limit: int | None = None) -> dict[str, Any]:
        (length,) = HEADER.unpack(receive_exactly(self._socket, HEADER.size))
        if limit is not None and length > limit:
            raise DaemonError("The first message is not a hello.")
        check_length(length)
        return unpacked(receive_exactly(self._socket, length))


class HungError(DaemonError):
    """The background process is there, but does not answer."""

    def __init__(self, process_id: int | None, sent: bool | None = False) -> None:
        shown = f" (pid {process_id})" if process_id else ""
        super().__init__(f"The background process{shown} does not answer.", sent=sent, hint=_END_IT)
        self.process_id = process_id


def ask(
    request: Mapping[str, Any], *, start: bool = False, on_progress: ProgressListener | None = None
) -> dict[str, Any] | None:
    """Make one request to the daemon.

    Args:
        request: What to ask.
        start: Start a daemon if there is none.
        on_progress: Called with `(progress, total, message)`.

    Returns:
        The answer; `None` if no daemon runs, or if one of another version runs that keeps nothing relevant.

    Raises:
        JackfieldError: As it was raised there.
        DaemonError: It cannot be started, reached or trusted.
    """
    place = Place.find(create=start)
    if place is None:
        return None
    with place:
        deadline = time.monotonic() + _SETTLE_SECONDS
        while (connection := _connected(place, start, deadline)) is not None:
            with connection:
                if connection.protocol == PROTOCOL or request["do"] in ("ps", "end"):
                    answer = connection.ask({**request, "protocol": PROTOCOL}, on_progress)
                    if "ending" not in answer:
                        return answer
                elif not _gives_way(place, connection, request, start):
                    return None
            if time.monotonic() > deadline:
                raise _unsettled(connection.process_id)
            time.sleep(_POLL_SECONDS)
        return None


def wait_until_gone(place: Place, seconds: float) -> bool:
    """Whether the process and its servers have ended within this many seconds."""
    deadline = time.monotonic() + seconds
    while place.is_locked():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _connected(place: Place, start: bool, deadline: float) -> Connection | None:
    """A connection to the process that holds the lock, or to a newly started one, or `None`."""
    while True:
        if not place.is_locked():
            if not start:
                return None
            from .starting import start_process

            start_process(place)
        try:
            return Connection(place)
        except OSError:
            pass  # It has the lock, and does not listen yet, or does not listen any more.
        if time.monotonic() > deadline:
            raise _unsettled(None)
        time.sleep(_POLL_SECONDS)


def _gives_way(place: Place, connection: Connection, request: Mapping[str, Any], start: bool) -> bool:
    """Whether a daemon of another version exits in favour of this version. It does if it keeps no session.

    Raises:
        DaemonError: It keeps relevant sessions.
    """
    if start:
        if connection.ask({"do": "end", "if_empty": True})["result"]["ended"]:
            wait_until_gone(place, _SETTLE_SECONDS)
            return True
    else:
        name = request["server_name"] if request["do"] == "close" else request["server"]["config"]["server_name"]
        sessions = connection.ask({"do": "ps"})["result"]["sessions"]
        if not any(one["server"] == name and request["key"] in (None, one["key"]) for one in sessions):
            return False
    raise DaemonError(
        f"Sessions are kept by a background process (pid {connection.process_id}) of jackfield {connection.version}, "
        "with which this version cannot speak.",
        sent=False,
        hint=_END_IT,
    )


def _unsettled(process_id: int | None) -> DaemonError:
    shown = f" (pid {process_id})" if process_id else ""
    return DaemonError(
        f"The background process{shown} has been starting or stopping for {_SETTLE_SECONDS:g} s.",
        sent=False,
        retryable=True,
        hint="Try again in a moment. " + _END_IT,
    )
