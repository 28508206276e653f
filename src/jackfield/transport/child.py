"""A child process in the event loop: waiting for it, and ending it with everything it started.

Stopping ends the whole tree, also helpers that the child left behind when it exited; see `program`.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import signal
import weakref
from collections.abc import Callable

import anyio
from anyio.lowlevel import checkpoint

from .spawn import REAP_SECONDS, StartedProgram

POLL_SECONDS = 0.02
"""Where there is no process descriptor to wait on (macOS), exits are noticed this often."""

# When the timer is due that only the end of its event loop is to drop.
_NEVER_SECONDS = 1e9

READ_BYTES = 65536
"""How much is read of a pipe at a time."""


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
        self._keep_past_loop_close = _on_loop_close(program.kill_forgotten)
        self.exited: anyio.Event = anyio.Event()
        """Set once the process has exited, by who watches for that."""
        self.left_behind = 0
        """Number of its child processes that still ran after it had exited. Set by `stop()`."""

    @property
    def exit_code(self) -> int | None:
        """The exit code, minus the signal's number if one ended it; `None` while it runs."""
        return self._program.exit_code

    def close_stdin(self) -> None:
        """Tell the child that nothing more will come; the polite way to end it."""
        if self._stdin_open:
            self._stdin_open = False
            anyio.notify_closing(self.stdin)
            self._program.close_stdin()

    @property
    def unread_bytes(self) -> int:
        """Number of bytes written to the child that it has not read; 0 if unknown."""
        # Imported here because Windows has neither, and imports this module.
        import fcntl
        import termios

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
            with anyio.move_on_after(POLL_SECONDS):
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
                await anyio.sleep(POLL_SECONDS)


async def read_some(descriptor: int) -> bytes:
    """Read what there is, waiting for it; empty at the end of the stream.

    Raises:
        OSError: The pipe broke.
        anyio.ClosedResourceError: The descriptor was closed here.
    """
    waited = False
    while True:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            await anyio.wait_readable(descriptor)
            waited = True
        else:
            if not waited:
                await checkpoint()
            return data


class _Sentinel:
    """Lives as long as an event loop keeps the timer it hangs on."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def __call__(self) -> None:
        """The timer's callback; never due."""

    def __del__(self) -> None:
        self.action()


def _on_loop_close(action: Callable[[], object]) -> Callable[[], None]:
    """Do something when the running event loop is closed; returns what calls that off.

    Waiting for the garbage collector would not do: anyio keeps a closed loop alive by the futures of
    the descriptors that were waited for. Closing a loop drops its timers, so a timer that is never due
    tells. On trio a run ends only after its tasks did.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return lambda: None
    sentinel = _Sentinel(action)
    timer = weakref.ref(loop.call_later(_NEVER_SECONDS, sentinel))
    watched = weakref.ref(sentinel)
    del sentinel

    def call_off() -> None:
        if (left := watched()) is not None:
            left.action = _nothing
        if (handle := timer()) is not None:
            handle.cancel()

    return call_off


def _nothing() -> None:
    pass
