"""Starts the program of a stdio server; ahead of its session where that is to be quick.

Light on purpose: neither the SDK nor an event loop is imported. `started_ahead` lets a short-lived process start its
server first and import what it needs to speak to it afterwards, so that both come up at the same time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Generator, Mapping
from types import FrameType
from typing import TYPE_CHECKING

from ..config.inherited import inherited_environment
from ..errors import ConfigError, ServerStartError
from .tree import StartedProgram

if TYPE_CHECKING:
    from ..config.launch import Launch

ENDING: tuple[signal.Signals, ...] = (signal.SIGTERM,) if sys.platform == "win32" else (signal.SIGTERM, signal.SIGHUP)
"""What asks a process to end, beside Ctrl-C."""

# Of a script that says what is to run it.
_FIRST_LINE_BYTES = 512

_waiting: list[tuple[Launch, StartedProgram]] = []


def start_program(launch: Launch) -> StartedProgram:
    """Start a server's program.

    Raises:
        ServerStartError: It cannot be started.
        ConfigError: This platform cannot.
    """
    if sys.platform == "win32":
        raise ConfigError(
            "stdio servers cannot be started on Windows yet.",
            server_name=launch.server_name,
            hint="Run the server with Streamable HTTP and use HttpConfig, or use WSL.",
        )
    environment = (
        {}
        if launch.inherits_nothing
        else inherited_environment(launch.command, launch.args, launch.environment, whole=launch.inherit_environment)
    )
    if launch.working_dir is not None and not launch.working_dir.is_dir():
        raise _cannot_start(
            launch, f"its working_dir {str(launch.working_dir)!r} is not a folder", "Create it, or correct working_dir."
        )
    try:
        return StartedProgram.start(
            launch.command, launch.args, {**environment, **launch.environment}, launch.working_dir
        )
    except FileNotFoundError:
        if (problem := _interpreter_problem(launch, environment)) is not None:
            raise _cannot_start(launch, *problem) from None
        hint = "Install it, or give its full path as command."
        raise _cannot_start(launch, f"the command {launch.command!r} was not found", hint) from None
    except PermissionError:
        hint = "Make the file executable, or start it by its interpreter."
        raise _cannot_start(launch, f"the command {launch.command!r} may not be executed", hint) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _cannot_start(launch, f"the command {launch.command!r} failed: {reason}", None) from None


def _interpreter_problem(launch: Launch, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """What is wrong with a command that is there, but not what is to run it; and a hint. `None` if it is not there."""
    path = {**environment, **launch.environment}.get("PATH")
    is_path = os.path.dirname(launch.command)
    found = shutil.which(
        os.path.join(launch.working_dir or "", launch.command) if is_path else launch.command, path=path
    )
    try:
        with open(found or "", "rb") as file:
            line = file.readline(_FIRST_LINE_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    if not line.startswith("#!"):
        return (
            f"{launch.command!r} is built for another system: its interpreter (loader) is missing",
            "Install it again.",
        )
    interpreter = line[2:].strip()
    if line.rstrip("\n").endswith("\r"):
        hint = "The file has the line ends of Windows: convert it (dos2unix)."
        return (
            f"the first line of {launch.command!r} names no interpreter that exists: it ends with a carriage return",
            hint,
        )
    problem = f"{launch.command!r} names the interpreter {interpreter!r}, which does not exist"
    return problem, "Install the script again (a virtual environment cannot be moved), or fix its first line."


def _cannot_start(launch: Launch, problem: str, hint: str | None) -> ServerStartError:
    return ServerStartError(
        f"Server {launch.server_name!r} could not be started: {problem}.",
        server_name=launch.server_name,
        sent=False,
        hint=hint,
    )


@contextlib.contextmanager
def started_ahead(launch: Launch) -> Generator[None]:
    """Start a server now; the first session with it that is opened inside the block takes it over.

    If none does, it is killed when the block is left, and at the latest when the interpreter ends. Check
    that its configuration is trusted before.

    Raises:
        ServerStartError: It cannot be started.
    """
    with _interrupts_held():
        item = (launch, start_program(launch))
        _waiting.append(item)
    try:
        yield
    finally:
        if item in _waiting:
            _waiting.remove(item)
            _end(item[1])


def take_started(launch: Launch) -> StartedProgram | None:
    """The program of this server that was started ahead, if it waits; it is the caller's from now on."""
    for item in _waiting:
        if item[0] == launch:
            _waiting.remove(item)
            return item[1]
    return None


def end_started() -> None:
    """Kill whatever waits to be taken over. May be called by a signal handler that ends the process."""
    while _waiting:
        _end(_waiting.pop()[1])


def _end(program: StartedProgram) -> None:
    program.kill()
    program.free()


@contextlib.contextmanager
def _interrupts_held() -> Generator[None]:
    """Keep Python's signal handlers, which may raise, from coming between a start and its being noted."""
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread only
        return
    arrived: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    # One that is ignored or left to the system stays so, and is inherited so by the program.
    handlers = {number: handler for number in (signal.SIGINT, *ENDING) if callable(handler := signal.getsignal(number))}
    try:
        for number in handlers:
            signal.signal(number, hold)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in arrived:
            signal.raise_signal(number)
