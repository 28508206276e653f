"""Messages over the stdin and stdout of a program that is started here.

Source: MCP 2025-11-25 and 2026-07-28, basic/transports "stdio".
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from ...errors import JackfieldError
from ...transport.spawn import REAP_SECONDS, StartedProgram, start_program
from .interrupts import Interrupts, OutOfTimeError
from .wire import (
    CLOSE_SECONDS,
    MAX_MESSAGE_BYTES,
    MAX_STDERR_BYTES,
    Message,
    NotDirectError,
    cancellation,
    read_messages,
    too_long,
)

if TYPE_CHECKING:
    from ...config.launch import Launch
    from ...transport.report import ConnectionReport
    from ..targets import Target

_READ_BYTES = 65536
_LAST_WORDS_SECONDS = 0.5
_POLL_SECONDS = 0.01


class ProgramWire:
    """Carries messages to a program and back.

    Args:
        target: The server.
        launch: How its program is started.
        interrupts: End the waiting.
    """

    is_restarted = True

    def __init__(self, target: Target, launch: Launch, interrupts: Interrupts) -> None:
        self.version: str = ""
        self.may_leave: bool = True
        self._target = target
        self._launch = launch
        self._interrupts = interrupts
        self._told: list[ConnectionReport] = []
        self._buffer = bytearray()
        self._searched = 0
        self._stderr = bytearray()
        self._stderr_bytes = 0
        self._stderr_before = 0
        """How much it had written when it was asked."""
        self._noise: list[bytes] = []
        self._program: StartedProgram = start_program(launch)
        for descriptor in (self._program.stdin, self._program.stdout, self._program.stderr):
            os.set_blocking(descriptor, False)
        self._open_pipes: set[int] = {self._program.stdout, self._program.stderr}

    def exchange(self, message: Message, until: float) -> Generator[Message]:
        """As `Wire.exchange`."""
        self._stderr_before = self._stderr_bytes
        self._write(message, until)
        while True:
            yield from self._next_messages(until)

    def send(self, message: Message, until: float) -> None:
        """As `Wire.send`."""
        self._write(message, until)

    def _write(self, message: Message, until: float) -> None:
        data = memoryview(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        while data:
            try:
                data = data[os.write(self._program.stdin, data) :]
            except BlockingIOError:
                self._pump(until, also_write=True)
            except OSError:
                self._stderr_before = self._stderr_bytes
                raise self._lost() from None

    def _next_messages(self, until: float) -> list[Message]:
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                if messages := read_messages(line):
                    return messages
                if line.strip():
                    self._noise = [*self._noise[-19:], line]
                continue
            self._searched = len(self._buffer)
            if len(self._buffer) > MAX_MESSAGE_BYTES:
                raise too_long(self._target)
            if self._program.stdout not in self._open_pipes:
                raise self._lost()
            self._pump(until)

    def _pump(self, until: float, *, also_write: bool = False) -> None:
        """Wait for something to happen on the pipes, and read it."""
        self._interrupts.check()
        left = until - time.monotonic()
        if left <= 0:
            raise OutOfTimeError
        if self._program.exit_code is not None:
            # What it wrote before is here in a moment; a helper of it may hold the pipe open for ever.
            left, also_write = min(left, _LAST_WORDS_SECONDS), False
        exit_sign = self._program.descriptor
        watched = [*self._open_pipes, self._interrupts.readable]
        if exit_sign is None:
            left = min(left, _LAST_WORDS_SECONDS)
        elif self._program.exit_code is None:
            watched.append(exit_sign)
        was_over = self._program.exit_code is not None
        readable, _, _ = select.select(watched, [self._program.stdin] if also_write else [], [], left)
        self._interrupts.check()
        self._read(readable)
        if was_over and not readable:
            self._open_pipes.clear()

    def _read(self, readable: list[int]) -> None:
        for descriptor in self._open_pipes.intersection(readable):
            try:
                data = os.read(descriptor, _READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._open_pipes.discard(descriptor)
            elif descriptor == self._program.stdout:
                self._buffer += data
            else:
                self._stderr_bytes += len(data)
                self._stderr = (self._stderr + data)[-MAX_STDERR_BYTES:]

    # Errors, in the words of the library

    def report(self) -> ConnectionReport:
        """As `Wire.report`."""
        from ...config.launch import inherited_environment, inherited_secrets
        from ...masking import keep_secret
        from ...transport.report import ConnectionReport

        handed_on = inherited_environment(
            self._launch.command, self._launch.args, self._launch.environment, more=self._launch.inherit_environment
        )
        report = ConnectionReport(self._target.load_config())
        keep_secret(report, inherited_secrets(handed_on))
        self._told.append(report)  # for as long as it is there, they are masked
        report.stderr.add(bytes(self._stderr))
        for line in self._noise:
            report.add_noise(line)
        report.exit_code_now = lambda: self._program.exit_code
        return report

    def _lost(self) -> Exception:
        """The server has gone. Before it was asked anything, that is left to the library, which finds out why."""
        if self.may_leave:
            return NotDirectError()
        until = time.monotonic() + _LAST_WORDS_SECONDS
        while (self._program.exit_code is None or self._open_pipes) and time.monotonic() < until:
            self._read(select.select(list(self._open_pipes), [], [], _POLL_SECONDS)[0])
        from ...session.task import loss

        report = self.report()
        # What it wrote before says nothing of why it has gone.
        since = self._stderr_before - (self._stderr_bytes - len(self._stderr))
        error: JackfieldError = loss(self._target.load_config(), 1, report)
        quote = report.stderr_quote(max(since, 0))
        words = f"{error.message} The call was sent and may have taken effect."
        return error.told(message=words, sent=True, retryable=False, server_output=quote)

    # Ending

    def close(self, asked: int | None) -> None:
        """Cancel what is under way, and end the program and all that it started.

        Source: MCP 2025-11-25, basic/lifecycle "Shutdown, stdio".
        """
        program, grace = self._program, CLOSE_SECONDS * 0.4
        try:
            if asked is not None:
                self._cancel(asked)
            program.close_stdin()
            self._wait(grace, lambda: program.exit_code is not None)
            for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, REAP_SECONDS)):
                if program.signal_tree(number):
                    self._wait(seconds, lambda: program.exit_code is not None and not program.survivors())
        finally:
            program.kill()
            program.free()

    def _cancel(self, request_id: int) -> None:
        with contextlib.suppress(OSError):  # it reads no more, or has gone
            os.write(self._program.stdin, json.dumps(cancellation(request_id)).encode() + b"\n")

    def _wait(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Wait, and read what the server still writes, lest it block on a full pipe. A second Ctrl-C ends the wait."""
        until, signals = time.monotonic() + seconds, len(self._interrupts.came)
        while not is_over() and time.monotonic() < until and len(self._interrupts.came) <= max(signals, 1):
            exited = [] if self._program.descriptor is None else [self._program.descriptor]
            watched = [*self._open_pipes, *(exited if self._program.exit_code is None else [])]
            self._read(select.select(watched, [], [], _POLL_SECONDS)[0])
