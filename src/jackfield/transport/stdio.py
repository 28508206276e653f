"""stdio: a child process, JSON-RPC messages as lines on its stdin and stdout.

Messages are read by the SDK's own receive loop and written by the task that makes the call, without
tasks or queues in between; only a write that the pipe does not accept immediately is finished by a flusher, so
that a cancelled caller can never leave half a message on the wire.

Source: MCP 2025-11-25 and 2026-07-28, basic/transports "stdio".
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.lowlevel import checkpoint
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCNotification, JSONRPCRequest

from ..config.launch import inherited_environment, inherited_secrets
from ..config.servers import StdioConfig, launch_of_config
from ..loops import Changed
from ..masking import keep_secret
from .bad_answers import too_long, unreadable
from .child import POLL_SECONDS, READ_BYTES, ChildProcess, read_some
from .report import ConnectionReport
from .scanning import MessageScanner
from .sdk import MessageReader, MessageWriter, batched, is_cancellation, read_message, sendable
from .spawn import StartedProgram, start_program, take_started

# How long output that a process wrote before it exited may take to arrive here.
_LAST_WORDS_SECONDS = 0.5

# More than this is not read before somebody wants it: a server that floods is to notice that its pipe is full.
_READ_AHEAD_BYTES = 65536


@asynccontextmanager
async def stdio_transport(
    config: StdioConfig, report: ConnectionReport
) -> AsyncGenerator[tuple[_LineReader, _LineWriter]]:
    """Start the server, or take over the one that was started ahead, and yield its message streams; end its whole
    process tree on exit.

    Raises:
        ServerStartError: The command cannot be started.
    """
    launch = launch_of_config(config)
    handed_on = inherited_environment(launch.command, launch.args, launch.environment, more=launch.inherit_environment)
    if secrets := inherited_secrets(handed_on):
        keep_secret(report, secrets)
    program = take_started(launch) or start_program(launch)
    child = ChildProcess(program)
    report.process_id = child.pid
    report.exit_code_now, report.exited = lambda: program.exit_code, child.exited
    reader = _LineReader(child, config, report)
    writer = _LineWriter(child, config, report)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_keep_stderr, child, report)
            tasks.start_soon(writer.flush_forever)
            tasks.start_soon(_end_reading_on_exit, program, child.exited, reader)
            try:
                yield reader, writer
            finally:
                reader.stop()
                report.unread_bytes = child.unread_bytes
                await child.stop(config.session.close_timeout)
                report.exit_code, report.left_behind = child.exit_code, child.left_behind
                # With the tree gone stderr ends at once, unless a stranger holds it open.
                with anyio.move_on_after(_LAST_WORDS_SECONDS, shield=True):
                    await report.stderr_ended.wait()
                tasks.cancel_scope.cancel()
    finally:
        child.close()
        report.mark_lost()


async def _keep_stderr(child: ChildProcess, report: ConnectionReport) -> None:
    pipe = PipeReader(child.stderr)
    try:
        with contextlib.suppress(OSError, anyio.ClosedResourceError):
            while data := await pipe.read():
                report.stderr.add(bytes(data))
    finally:
        pipe.stop()
        report.stderr_ended.set()


async def _end_reading_on_exit(program: StartedProgram, exited: anyio.Event, reader: _LineReader) -> None:
    """Set `exited` once the process has exited, without reaping it, and end reading: a helper that inherited stdout
    keeps the pipe open."""
    while program.exit_code is None:
        if program.descriptor is None:
            await anyio.sleep(POLL_SECONDS)
        else:
            await anyio.wait_readable(program.descriptor)
    exited.set()
    with anyio.move_on_after(_LAST_WORDS_SECONDS):
        await reader.ended.wait()
    reader.stop()


class PipeReader:
    """Reads a pipe whenever the event loop finds it readable.

    Waiting for a descriptor again for each message costs two system calls and several steps of the event loop, which is
    a good part of a short call. asyncio's loop reads as soon as there is data; trio's waits again.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._data = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None
        """asyncio's, as long as it watches the descriptor."""
        self._waiter: asyncio.Future[None] | None = None
        self._failure: OSError | None = None
        self._has_ended = False
        self._is_stopped = False
        self.taking: Callable[[bytearray], bool] | None = None
        """Called with what has come while a reader waits: takes it from there, and returns whether the reader is to
        wait on. Waking the reader would be a turn of the event loop."""

    async def read(self) -> bytes | bytearray:
        """Read what there is, waiting for it; empty at the end of the stream.

        Raises:
            OSError: The pipe broke.
            anyio.ClosedResourceError: It was stopped.
        """
        if self._data:
            await checkpoint()
        while not self._data:
            if self._is_stopped:
                raise anyio.ClosedResourceError
            if self._failure is not None:
                raise self._failure
            if self._has_ended:
                return b""
            if self._loop is None and not self._watch():
                return await read_some(self._descriptor)
            assert self._loop
            self._waiter = self._loop.create_future()
            await self._waiter
        data, self._data = self._data, bytearray()
        return data

    def stop(self) -> None:
        """End the stream for its reader."""
        self._is_stopped = True
        anyio.notify_closing(self._descriptor)
        self._unwatch()
        self._wake()

    def _watch(self) -> bool:
        """Have asyncio's loop watch the descriptor; whether that is the loop that runs here."""
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        self._loop.add_reader(self._descriptor, self._on_readable)
        return True

    def _on_readable(self) -> None:
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._failure = error
            self._unwatch()
        else:
            self._data += data
            self._has_ended = not data
            if self._has_ended or len(self._data) > _READ_AHEAD_BYTES:
                self._unwatch()
            waiter, taking = self._waiter, self.taking
            if taking is not None and data and waiter is not None and not waiter.done():
                is_all_taken = False
                try:
                    is_all_taken = taking(self._data)
                finally:
                    if not is_all_taken:
                        self._wake()
                return
        self._wake()

    def _unwatch(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _LineReader(MessageReader):
    """Reads messages from the child's stdout."""

    def __init__(self, child: ChildProcess, config: StdioConfig, report: ConnectionReport) -> None:
        self._pipe = PipeReader(child.stdout)
        self._report = report
        self._buffer = bytearray()
        self._searched = 0
        self._limit = config.session.max_message_bytes
        self._beyond: MessageScanner | None = None
        """Reads the line that is passed over, because it is beyond the limit."""
        self._passed_bytes = 0
        self._stopped = False
        self.ended = anyio.Event()
        plain = (
            config.encoding.lower().replace("_", "-") in ("utf-8", "utf8") and config.encoding_error_handler == "strict"
        )
        # Bytes that are none of the encoding make their own message odd, and end nothing.
        errors = "replace" if config.encoding_error_handler == "strict" else config.encoding_error_handler
        self._decoder = None if plain else codecs.getincrementaldecoder(config.encoding)(errors)

    def stop(self) -> None:
        """End the stream for its reader."""
        if not self._stopped:
            self._stopped = True
            self._pipe.stop()

    async def receive(self) -> SessionMessage | Exception:
        """The next message.

        Raises:
            anyio.EndOfStream: The server closed its output, or exited.
        """
        while True:
            line = self._next_line()
            if line is None:
                if not await self._fill():
                    self.ended.set()
                    await self._report.last_words()
                    self._report.mark_lost()
                    raise anyio.EndOfStream
            elif line.strip() or self._beyond is not None:
                message = self._message(line)
                if message is None:
                    continue
                if not isinstance(message.message, JSONRPCNotification):
                    self._report.requests.arrived(message.message)
                    return message
                if self._report.admits_notification():
                    return message

    def _message(self, line: bytearray) -> SessionMessage | None:
        if self._beyond is not None or len(line) > self._limit:
            self._pass_over(line)
            beyond, total = self._beyond, self._passed_bytes
            self._beyond, self._passed_bytes = None, 0
            assert beyond
            return too_long(self._report, beyond, total)
        if (read := read_message(line)) is not None:
            return SessionMessage(read.message)
        if messages := batched(line):
            self._buffer[:0] = b"\n".join([*messages, b""])
            return None
        # Banners and stray prints are the commonest fault of stdio servers; the messages
        # around them are fine, so they are kept for an error and passed over.
        self._report.add_noise(bytes(line[:1000]))
        self._report.log.debug("Not a message on stdout: %.200r", self._report.noise[-1])
        # It is nested too deep for the parser, or was cut off: its caller would wait in vain.
        return unreadable(self._report, line)

    def _next_line(self) -> bytearray | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            if self._beyond is not None or len(self._buffer) > self._limit:
                self._pass_over(self._buffer)
                self._buffer.clear()
            self._searched = len(self._buffer)
            return None
        line = self._buffer[:end]
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _pass_over(self, part: bytearray) -> None:
        """Read of a line that is not kept only whose it is."""
        self._beyond = self._beyond or MessageScanner()
        self._passed_bytes += len(part)
        if not self._beyond.is_decided:
            self._beyond.feed(part)

    async def _fill(self) -> bool:
        """Read more; whether there was any."""
        if self._stopped:
            return False
        try:
            data = await self._pipe.read()
        except (OSError, anyio.ClosedResourceError):
            return False
        if self._decoder is not None:
            self._buffer += self._decoder.decode(data, final=not data).encode("utf-8", "replace")
        else:
            self._buffer += data
        return bool(data)

    async def aclose(self) -> None:
        self.stop()
        await checkpoint()


class _LineWriter(MessageWriter):
    """Writes messages to the child's stdin."""

    def __init__(self, child: ChildProcess, config: StdioConfig, report: ConnectionReport) -> None:
        self._child = child
        self._requests = report.requests
        self._encoding = config.encoding
        self._errors = config.encoding_error_handler
        self._pending = bytearray()
        self._queued_bytes = 0
        self._written_bytes = 0
        self._work = Changed()
        self._progress = Changed()
        self._closed = False
        self._broken = False

    async def send(self, item: SessionMessage, /) -> None:
        """Write one message whole.

        Raises:
            anyio.ClosedResourceError: Closed here.
            anyio.BrokenResourceError: The server no longer reads.
        """
        if self._closed:
            raise anyio.ClosedResourceError
        data = self._line(item)
        record = self._requests.begin(item.message)
        taken = 0 if self._pending or self._broken else self._write_now(data)
        if self._broken:
            raise anyio.BrokenResourceError
        if taken < len(data) and is_cancellation(item):
            self._queue_up(memoryview(data)[taken:])
        elif taken < len(data):
            if record is not None:
                record.became(None)
            await self._queue(memoryview(data)[taken:])
        if record is not None:
            record.became(True)

    def _line(self, item: SessionMessage) -> bytes:
        text = message_text(item)
        try:
            return f"{text}\n".encode(self._encoding, self._errors)
        except UnicodeEncodeError:
            # What the encoding does not have, JSON can write in ASCII.
            return f"{json.dumps(json.loads(text))}\n".encode(self._encoding, self._errors)

    def _write_now(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._child.stdin, data)
        except BlockingIOError:
            return 0
        except OSError:
            self._broken = True
            return 0

    def _queue_up(self, data: memoryview) -> None:
        self._pending += data
        self._queued_bytes += len(data)
        self._work.set()

    async def _queue(self, data: memoryview) -> None:
        self._queue_up(data)
        mine = self._queued_bytes
        while self._written_bytes < mine:
            if self._broken or self._closed:
                raise anyio.BrokenResourceError
            await self._progress.wait()

    async def flush_forever(self) -> None:
        """Write the remaining data to the pipe, in order."""
        while not self._broken:
            await self._work.until(lambda: bool(self._pending))
            try:
                await anyio.wait_writable(self._child.stdin)
            except (anyio.ClosedResourceError, OSError):
                self._broken = True
            else:
                taken = self._write_now(self._pending)
                del self._pending[:taken]
                self._written_bytes += taken
            self._progress.set()

    async def aclose(self) -> None:
        self._closed = True
        self._progress.set()
        await checkpoint()


def message_text(item: SessionMessage) -> str:
    """The message as JSON; an error in the place of an answer that is not JSON.

    Raises:
        RequestError: A request or a notification is not JSON.
    """
    if not isinstance(item.message, JSONRPCRequest):
        item = sendable(item)
    try:
        return item.message.model_dump_json(by_alias=True, exclude_unset=True)
    except ValueError:
        sendable(item)  # It says what is wrong.
        raise
