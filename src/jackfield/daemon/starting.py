"""Starts the background process. Who starts one holds the lock, and hands it over: there is never a second."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time

from ..errors import DaemonError, JackfieldError
from ..local.protocol import error_from_wire
from ..transport.spawn import MARK
from .configs import DAEMON_MARK, SETTINGS
from .folder import Place

_READY_SECONDS = 15.0

_KEPT_SETTING = "MCP_SESSION_DEBUG"


def start_process(place: Place) -> None:
    """Start the daemon, unless another process is starting it; returns when it listens.

    Raises:
        DaemonError: It could not be started.
    """
    lock = place.take_lock()
    if lock is None:
        return
    ready, written = os.pipe()
    try:
        _launch(lock, written)
        os.close(written)
        written = -1
        _wait_ready(ready)
    finally:
        for descriptor in (lock, ready, written):
            if descriptor >= 0:
                os.close(descriptor)


def _launch(lock: int, ready: int) -> None:
    if not sys.executable:
        raise DaemonError("The background process cannot be started: this Python does not know its own path.")
    try:
        # Its first act is to fork and exit, so that this waits for no longer than a Python takes to start.
        subprocess.run(
            [sys.executable, "-P", "-m", "jackfield.daemon", str(lock), str(ready)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_environment(),
            pass_fds=(lock, ready),
            start_new_session=True,
            timeout=_READY_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DaemonError(f"The background process cannot be started: {error}.", sent=False) from None


def _environment() -> dict[str, str]:
    """This process's variables, without those that belong to this command only.

    If this process belongs to a server's process tree, the daemon must not end with it.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name not in (MARK, DAEMON_MARK) and (not name.startswith(SETTINGS) or name == _KEPT_SETTING)
    }


def _wait_ready(ready: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    said = b""
    while said != b"ok":
        if not select.select([ready], [], [], max(deadline - time.monotonic(), 0))[0]:
            raise DaemonError(f"The background process did not start within {_READY_SECONDS:g} s.", sent=False)
        data = os.read(ready, 65536)
        if not data:
            break
        said += data
    if said != b"ok":
        raise _start_error(said)


def _start_error(said: bytes) -> JackfieldError:
    try:
        return error_from_wire(json.loads(said))
    except ValueError:
        return DaemonError(
            "The background process ended while it started.",
            sent=False,
            hint=f"Try: {sys.executable} -P -c 'import jackfield.daemon.server'",
        )
