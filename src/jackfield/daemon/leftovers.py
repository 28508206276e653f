"""Processes that a killed daemon left running: servers that do not exit when their stdin closes.

Every server is started with the id of its daemon in its environment, which its children inherit. The
id is random and is kept in the lock file, so a process that carries it is certainly ours, whatever its process id
was before. Only Linux allows reading it back; elsewhere servers exit on their own or not at all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

from ..transport.procfs import environment_of, process_ids
from .configs import DAEMON_MARK

# For leaving by itself after SIGTERM.
_GRACE_SECONDS = 2.0
_REAP_SECONDS = 2.0

_POLL_SECONDS = 0.05


def end_leftovers(daemon_id: str) -> int:
    """End the processes that the daemon with that id left; only after it has ended. Returns their number."""
    wanted = f"{DAEMON_MARK}={daemon_id}".encode()
    found = list(_marked(wanted))
    _signal_all(found, wanted, signal.SIGTERM)
    _signal_all(_left_after(_GRACE_SECONDS, wanted), wanted, signal.SIGKILL)
    _left_after(_REAP_SECONDS, wanted)
    return len(found)


def _left_after(seconds: float, wanted: bytes) -> list[int]:
    deadline = time.monotonic() + seconds
    while (left := list(_marked(wanted))) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return left


def _marked(wanted: bytes) -> Iterator[int]:
    if sys.platform != "linux":
        return
    for pid in process_ids():
        if pid != os.getpid() and _carries(pid, wanted):
            yield pid


def _carries(pid: int, wanted: bytes) -> bool:
    try:
        return wanted in environment_of(pid)
    except OSError:  # gone meanwhile, or another user's
        return False


def _signal_all(pids: list[int], wanted: bytes, number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(pid)
            try:
                # The descriptor stands for one process for good, so look again now that it cannot be another.
                if _carries(pid, wanted):
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)
