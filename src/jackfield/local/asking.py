"""Asks all processes that hold sessions, at the same time and within a bound: one that hangs keeps nobody waiting."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DaemonError
from .directory import PrivateDirectory, peer
from .protocol import HEADER, HELLO, MAX_FRAME_BYTES, error_from_wire, packed, unpacked

BACKGROUND_SOCKET = "keeper.sock"
"""Of the process that keeps sessions between commands. Its lock decides what becomes of it; nobody else removes it."""

SOCKETS = "sessions-"
"""How the names of the other sockets begin."""


def sockets(directory: PrivateDirectory) -> list[str]:
    """The names of the sockets of processes that hold sessions, or held them when they were killed."""
    names = os.listdir(directory.path)
    return sorted(name for name in names if name == BACKGROUND_SOCKET or _is_published(name))


def remove_stale(directory: PrivateDirectory) -> None:
    """Remove the sockets of processes that were killed."""
    for name in filter(_is_published, sockets(directory)):
        try:
            directory.connect_to(name, 0).close()
        except ConnectionRefusedError:
            directory.unlink(name)
        except (OSError, DaemonError):
            continue


def _is_published(name: str) -> bool:
    return name.startswith(SOCKETS) and name.endswith(".sock")


def ask_all(
    directory: PrivateDirectory, names: Sequence[str], request: Mapping[str, Any], seconds: float
) -> dict[str, dict[str, Any] | None]:
    """Make the same request of several processes.

    Args:
        directory: Where their sockets are.
        names: The names of these.
        request: What to ask.
        seconds: How long to wait for all of them together.

    Returns:
        The answers by socket, each with `result` or `error`; `None` for a process that did not answer in time. Those
        that have ended are left out, and what a killed one left is removed.
    """
    until, frame = time.monotonic() + seconds, packed(request)
    answers: dict[str, dict[str, Any] | None] = {}
    with selectors.DefaultSelector() as selector:
        waiting: dict[str, _Exchange] = {}
        try:
            for name in names:
                try:
                    waiting[name] = _Exchange(directory, name, frame)
                    selector.register(waiting[name].connection, selectors.EVENT_READ, name)
                except BlockingIOError:  # so many wait to be accepted that it takes no more
                    answers[name] = None
                except ConnectionRefusedError:
                    if _is_published(name):
                        directory.unlink(name)
                except (OSError, DaemonError):
                    continue
            answers.update(dict.fromkeys(waiting))
            while waiting and (left := until - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    exchange = waiting[key.data]
                    try:
                        if (answer := exchange.read()) is None:
                            continue
                        answers[key.data] = answer
                    except (OSError, DaemonError):
                        del answers[key.data]
                    selector.unregister(exchange.connection)
                    waiting.pop(key.data).connection.close()
        finally:
            for exchange in waiting.values():
                exchange.connection.close()
    return answers


def ask_one(directory: PrivateDirectory, name: str, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Make a request of one process; returns its result.

    Raises:
        JackfieldError: As it was raised there; or the process has ended, or did not answer in time.
    """
    answers = ask_all(directory, [name], request, seconds)
    if name not in answers:
        raise DaemonError("The process has ended.", sent=None)
    answer = answers[name]
    if answer is None:
        raise DaemonError(f"The process did not answer within {seconds:g} s; it may still complete the request.")
    if "error" in answer:
        raise error_from_wire(answer["error"])
    return answer["result"]


class _Exchange:
    """One request that was sent, and what has come of its answer.

    Raises:
        OSError: Nothing listens; `BlockingIOError`: it takes no more connections.
        DaemonError: It belongs to another user.
    """

    def __init__(self, directory: PrivateDirectory, name: str, frame: bytes) -> None:
        self.connection: socket.socket = directory.connect_to(name, 0)
        self._data = bytearray()
        self._is_greeted = False
        try:
            # It says hello first, but does not wait for an answer to that.
            self.connection.sendall(frame)
        except BaseException:
            self.connection.close()
            raise

    def read(self) -> dict[str, Any] | None:
        """Read what is there; the answer once it is whole.

        Raises:
            OSError: It has ended.
            DaemonError: It is something else than Jackfield.
        """
        data = self.connection.recv(1 << 20)
        if not data:
            raise ConnectionResetError
        self._data += data
        while len(self._data) >= HEADER.size:
            (length,) = HEADER.unpack(self._data[: HEADER.size])
            if length > MAX_FRAME_BYTES:
                raise DaemonError("The data is not a valid frame.")
            end = HEADER.size + length
            if len(self._data) < end:
                return None
            message = unpacked(self._data[HEADER.size : end])
            del self._data[:end]
            if not self._is_greeted:
                if message.get("i_am") != HELLO:
                    raise DaemonError("The first message is not a hello.")
                self._is_greeted = True
            elif "result" in message or "error" in message:
                return message
        return None


def found_processes(directory: PrivateDirectory, seconds: float) -> dict[str, dict[str, Any] | None]:
    """What every process that holds sessions says, by its socket; `None` for one that does not answer in time.

    Args:
        directory: Where the sockets are.
        seconds: How long to wait for all of them together.
    """
    answers = ask_all(directory, sockets(directory), {"do": "ps"}, seconds)
    return {
        name: answer if answer is None else answer["result"]
        for name, answer in answers.items()
        if answer is None or "result" in answer
    }


def process_id(directory: PrivateDirectory, name: str) -> int | None:
    """The process that listens at a socket, which may hang; from the kernel."""
    try:
        with directory.connect_to(name, 0) as connection:
            return peer(connection)[1]
    except (OSError, DaemonError):
        return None
