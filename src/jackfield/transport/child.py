"""A child process in the event loop: waiting for it, and ending it with everything it started.

Stopping ends the whole tree, also helpers that the child left behind when it exited; see `program`.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import signal
import termios

import anyio
from anyio.lowlevel import checkpoint

from ..loops import on_loop_close
from .program import REAP_SECONDS, StartedProgram

# Where there is no process descriptor to wait on (macOS), exits are noticed this often.
_POLL_SECONDS = 0.02

_READ_BYTES = 65536
# More than this is not read before somebody wants it: a server that floods is to notice that its pipe is full.
_READ_AHEAD_BYTES = 65536


class ChildProcess:
    """One started program, from now on owned by the running event loop; its pipes are non-blocking from now on."""

    def __init__(self, program: StartedProgram) -> None:
        self._program = program
        self.pid: int = program.pid
        self.stdin: int = program.stdin
        self.stdout: int = program.stdout
        self.stderr: int = program.stderr
        for descriptor in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(descriptor, False)
        self._stdin_open = True
        self._keep_past_loop_close = on_loop_close(program.kill_forgotten)
        self.exited: anyio.Event = anyio.Event()
        self.left_behind = 0
        """Number of its child processes that still ran after it had exited. Set by `stop()`."""

    @property
    def exit_code(self) -> int | None:
        """The exit code, minus the signal's number if one ended it; `None` while it runs."""
        return self._program.exit_code

    async def watch_exit(self) -> None:
        """Set `exited` once the process has exited; does not reap it. Run it in one task."""
        while self.exit_code is None:
            if self._program.descriptor is None:
                await anyio.sleep(_POLL_SECONDS)
            else:
                await anyio.wait_readable(self._program.descriptor)
        self.exited.set()

    def close_stdin(self) -> None:
        """Tell the child that nothing more will come; the polite way to end it."""
        if self._stdin_open:
            self._stdin_open = False
            anyio.notify_closing(self.stdin)
            self._program.close_stdin()

    @property
    def unread_bytes(self) -> int:
        """Number of bytes written to the child that it has not read; 0 if unknown."""
        count = array.array("i", [0])
        try:
            fcntl.ioctl(self.stdin, termios.FIONREAD, count)
        except OSError:
            return 0
        return count[0]

    async def stop(self, close_timeout: float) -> None:
        """End the process and all it started. Call `close()` afterwards.

        Closes its stdin and waits, sends SIGTERM and waits, then kills; each wait is two fifths of
        `close_timeout` (seconds) at most. Runs to its end even when cancelled; a cancellation that
        cannot be held off (event loop shutting down) skips the waits.

        Source: MCP 2025-11-25, basic/lifecycle "Shutdown, stdio".
        """
        grace = close_timeout * 0.4
        try:
            with anyio.CancelScope(shield=True):
                self.close_stdin()
                await self._drained_wait(grace)
                if self.exit_code is not None:
                    self.left_behind: int = sum(pid != self.pid for pid in self._program.survivors())
                if self._program.signal_tree(signal.SIGTERM):
                    await self._tree_gone(grace)
                if self._program.signal_tree(signal.SIGKILL):
                    await self._tree_gone(REAP_SECONDS)
        finally:
            self._keep_past_loop_close()
            self._program.kill()

    def close(self) -> None:
        """Free the descriptors."""
        for descriptor in (self.stdout, self.stderr, self._program.descriptor):
            if descriptor is not None:
                anyio.notify_closing(descriptor)
        self._program.free()

    async def _drained_wait(self, seconds: float) -> None:
        """Wait for the exit while reading what the child still writes, lest it block on a full pipe."""
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._drain)
                await self._wait_exit()
                tasks.cancel_scope.cancel()

    async def _wait_exit(self) -> None:
        """Wait for the exit, even if the watching task was cancelled with its event loop."""
        while self.exit_code is None:
            with anyio.move_on_after(_POLL_SECONDS):
                await self.exited.wait()

    async def _drain(self) -> None:
        with contextlib.suppress(OSError, anyio.ClosedResourceError, anyio.BusyResourceError):
            while await read_some(self.stdout):
                pass

    async def _tree_gone(self, seconds: float) -> None:
        """Wait until nothing of the tree runs."""
        with anyio.move_on_after(seconds):
            # Descendants that are no children of ours give no other sign of their end.
            while self.exit_code is None or self._program.survivors():  # noqa: ASYNC110
                await anyio.sleep(_POLL_SECONDS)


async def read_some(descriptor: int) -> bytes:
    """Read what there is, waiting for it; empty at the end of the stream.

    Raises:
        OSError: The pipe broke.
        anyio.ClosedResourceError: The descriptor was closed here.
    """
    waited = False
    while True:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            await anyio.wait_readable(descriptor)
            waited = True
        else:
            if not waited:
                await checkpoint()
            return data


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
            data = os.read(self._descriptor, _READ_BYTES)
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
        self._wake()

    def _unwatch(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
