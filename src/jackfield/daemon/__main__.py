"""Becomes the background process: `python -m jackfield.daemon LOCK READY`, started by a command that holds the lock.

LOCK is the descriptor of the locked lock file, READY that of a pipe: `ok`, or an error as JSON, is written to it. The
file holds the id of the process until it ends in good order, so that the next one can end what a killed one left.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import sys

from .._version import __version__
from ..errors import DaemonError, JackfieldError
from ..local.protocol import error_to_wire
from .folder import Place

logger: logging.Logger = logging.getLogger("jackfield")

LINGER = "JACKFIELD_DAEMON_LINGER"
FORMER_LINGER = "JACKFIELD_KEEPER_LINGER"
DEFAULT_LINGER_SECONDS = 10.0


def main(lock: int, ready: int) -> None:
    """Detach, listen, serve, and leave nothing."""
    # Nobody is to wait for this process, and no terminal is to take it along.
    if os.fork():
        os._exit(0)
    for descriptor in (lock, ready):
        os.set_inheritable(descriptor, False)
    place = None
    try:
        place = Place.find(create=False)
        if place is None or not place.has_lock(lock):
            raise DaemonError("The directory of the background process was removed while it started.", sent=False)
        listener = place.listen()
    except (JackfieldError, OSError) as error:
        failure = error if isinstance(error, JackfieldError) else DaemonError(f"No socket: {error}.", sent=False)
        os.write(ready, json.dumps(error_to_wire(failure)).encode())
        return
    os.write(ready, b"ok")
    os.close(ready)
    with place, listener:
        try:
            _serve(place, lock, listener)
        finally:
            place.remove_socket(lock)


def _serve(place: Place, lock: int, listener: socket.socket) -> None:
    from .log import open_log

    open_log()
    earlier = os.pread(lock, 64, 0).decode("ascii", "replace")
    daemon_id = secrets.token_hex(16)
    os.ftruncate(lock, 0)
    os.pwrite(lock, daemon_id.encode(), 0)
    logger.info("Background process of jackfield %s started in %s", __version__, place.path)
    try:
        import anyio

        from .server import DaemonServer

        server = DaemonServer(place, lock, daemon_id, earlier, _linger())
        anyio.run(server.run, listener)
    except BaseException:
        logger.exception("Background process failed")
        raise
    os.ftruncate(lock, 0)
    logger.info("Background process ended")


def _linger() -> float:
    with contextlib.suppress(ValueError):
        return max(float(os.environ.get(LINGER) or os.environ.get(FORMER_LINGER, "")), 0.0)
    return DEFAULT_LINGER_SECONDS


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
