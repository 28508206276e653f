"""Ends the daemon, even if it hangs or is of another version."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from ..errors import DaemonError
from .client import HungError, ask, wait_until_gone
from .folder import Place
from .leftovers import end_leftovers

# For closing all servers; each has its close_timeout, and all are closed at once.
_CLOSE_SECONDS = 30.0

# For dying of SIGTERM, which a process that hangs may not.
_TERM_SECONDS = 5.0


def end_process() -> list[dict[str, Any]] | None:
    """End the daemon and all sessions it keeps; returns when all of them are closed.

    Returns:
        The closed sessions, as `{"server", "key"}`; `None` if no daemon ran.

    Raises:
        DaemonError: It could not be ended.
    """
    place = Place.find(create=False)
    if place is None:
        return None
    with place:
        try:
            answer = ask({"do": "end"})
        except HungError as error:
            _end_by_force(place, error)
            return []
        if not wait_until_gone(place, _CLOSE_SECONDS):
            raise DaemonError("The background process did not stop.", hint="Try again in a moment.")
        return answer["result"]["closed"] if answer else None


def _end_by_force(place: Place, error: HungError) -> None:
    """Kill a process that hangs, and the processes that it leaves.

    Its id comes from the kernel: it is the peer of a socket in a directory that only this user can write to, while the
    lock is held: a number in a file would prove nothing.
    """
    daemon_id = place.daemon_id()
    for number, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _TERM_SECONDS)):
        _signal(place, error, number)
        if wait_until_gone(place, seconds):
            if daemon_id:
                end_leftovers(daemon_id)
            return
    raise error


def _signal(place: Place, error: HungError, number: signal.Signals) -> None:
    pid = error.process_id
    if pid is None:
        raise error
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        try:
            # That the same process still listens shows that the id was not given to another before it was pinned.
            if place.is_locked() and place.listener_id() == pid:
                if descriptor is None:
                    os.kill(pid, number)
                else:
                    signal.pidfd_send_signal(descriptor, number)
        finally:
            if descriptor is not None:
                os.close(descriptor)
