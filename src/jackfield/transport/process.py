"""A child process and everything it started.

The child leads a process group of its own and carries a mark in its environment that its descendants
inherit. Stopping ends the whole tree, also helpers that the child left behind when it exited, and those
that moved to a group of their own (on Linux, where the mark can be read back from /proc). The child
stays unreaped until its group is gone, so its process id cannot come to mean somebody else.
A child whose owner vanished (event loop closed in mid-call, interpreter exit) is killed by a finalizer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import anyio
from anyio.lowlevel import checkpoint

MARK = "JACKFIELD_CHILD"

# Where there is no process descriptor to wait on (macOS), exits are noticed this often.
_POLL_SECONDS = 0.02

# A killed process that is not gone by then hangs in the kernel; nothing more can be done about it.
_REAP_SECONDS = 2.0

_READ_BYTES = 65536

_NEVER_SECONDS = 1e9


class ChildProcess:
    """One started program with pipes to its stdin, stdout and stderr (raw, non-blocking descriptors)."""

    def __init__(self, popen: subprocess.Popen[bytes], mark: str) -> None:
        assert popen.stdin
        assert popen.stdout
        assert popen.stderr
        self._popen = popen
        self._mark = mark
        self.pid = popen.pid
        self.stdin = popen.stdin.fileno()
        self.stdout = popen.stdout.fileno()
        self.stderr = popen.stderr.fileno()
        for descriptor in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(descriptor, False)
        self._stdin_open = True
        self._descriptor = _open_process_descriptor(popen.pid)
        self._finalizer = weakref.finalize(self, _kill_forgotten, popen, mark, self._descriptor, os.getpid())
        self._keep_past_loop_close = _on_loop_close(self._finalizer)
        self.exited = anyio.Event()

    @classmethod
    def start(
        cls, command: str, args: Sequence[str], environment: Mapping[str, str], working_dir: Path | None
    ) -> ChildProcess:
        """Start a program in a session of its own.

        Raises:
            OSError: It cannot be started.
            ValueError: An argument has a NUL in it.
        """
        mark = secrets.token_hex(8)
        popen = subprocess.Popen(
            [command, *args],
            env={**environment, MARK: mark},
            cwd=working_dir,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        return cls(popen, mark)

    @property
    def exit_code(self) -> int | None:
        """The exit code, minus the signal's number if one ended it; `None` while it runs."""
        if self._popen.returncode is not None:
            return self._popen.returncode
        return _peek_exit_code(self.pid)

    async def watch_exit(self) -> None:
        """Set `exited` once the process has exited; does not reap it. Run it in one task."""
        while self.exit_code is None:
            if self._descriptor is None:
                await anyio.sleep(_POLL_SECONDS)
            else:
                await anyio.wait_readable(self._descriptor)
        self.exited.set()

    def close_stdin(self) -> None:
        """Tell the child that nothing more will come; the polite way to end it."""
        if self._stdin_open:
            self._stdin_open = False
            anyio.notify_closing(self.stdin)
            assert self._popen.stdin
            with contextlib.suppress(OSError):
                self._popen.stdin.close()

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
                if self._signal_tree(signal.SIGTERM):
                    await self._tree_gone(grace)
                if self._signal_tree(signal.SIGKILL):
                    await self._tree_gone(_REAP_SECONDS)
        finally:
            self._finalizer.detach()
            self._keep_past_loop_close()
            _kill_tree(self._popen, self._mark)

    def close(self) -> None:
        """Free the descriptors."""
        for descriptor in (self.stdout, self.stderr, *([self._descriptor] if self._descriptor is not None else [])):
            anyio.notify_closing(descriptor)
        _free(self._popen, self._descriptor)

    async def _drained_wait(self, seconds: float) -> None:
        """Wait for the exit while reading what the child still writes, lest it block on a full pipe."""
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._drain)
                await self._wait_exit()
                tasks.cancel_scope.cancel()

    async def _wait_exit(self) -> None:
        """Wait for the exit, also where the watching task was cancelled with its event loop."""
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
            while self.exit_code is None or any(self._survivors()):  # noqa: ASYNC110
                await anyio.sleep(_POLL_SECONDS)

    def _survivors(self) -> Iterator[int]:
        return _survivors(self.pid, self._mark)

    def _signal_tree(self, number: signal.Signals) -> bool:
        """Signal all that still runs; whether there was anything."""
        running = list(self._survivors())
        for pid in running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if running or self.exit_code is None:
            # One call reaches also what was forked while the list was made.
            _signal_group(self.pid, number)
            return True
        return False


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


def _open_process_descriptor(pid: int) -> int | None:
    if sys.platform != "linux":
        return None
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid)
    return None


def _peek_exit_code(pid: int) -> int | None:
    """The exit code of a child that nobody has reaped yet, leaving it unreaped."""
    try:
        state = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0  # reaped behind our back, by a SIGCHLD handler for one
    if state is None:
        return None
    return state.si_status if state.si_code == os.CLD_EXITED else -state.si_status


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _survivors(leader: int, mark: str) -> Iterator[int]:
    """Processes of the tree that still run, without the leader's zombie.

    Where there is no /proc only the leader can be seen; signals reach its whole group all the same.
    """
    if sys.platform != "linux":
        if _peek_exit_code(leader) is None:
            yield leader
        return
    wanted = f"{MARK}={mark}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The command's name may hold anything, so count fields from its closing bracket.
                state, _parent, group, session = file.read().rpartition(b")")[2].split()[:4]
            if state in (b"Z", b"X"):
                continue
            if int(group) == leader or int(session) == leader:
                yield int(name)
                continue
            with open(f"/proc/{name}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    yield int(name)
        except (OSError, ValueError):
            continue  # gone meanwhile, or another user's


def _kill_tree(popen: subprocess.Popen[bytes], mark: str) -> None:
    """Kill at once whatever is left of the tree, and reap the child."""
    if popen.returncode is not None:
        return
    for pid in _survivors(popen.pid, mark):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    _signal_group(popen.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        popen.wait(_REAP_SECONDS)


def _free(popen: subprocess.Popen[bytes], descriptor: int | None) -> None:
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        assert pipe
        with contextlib.suppress(OSError):
            pipe.close()
    if descriptor is not None:
        os.close(descriptor)


def _kill_forgotten(popen: subprocess.Popen[bytes], mark: str, descriptor: int | None, owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork of this process must not end its parent's children
    _kill_tree(popen, mark)
    _free(popen, descriptor)


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
