"""Says why a server's program could not be started. Neither the SDK nor the models are imported; see `program`."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import ServerStartError

if TYPE_CHECKING:
    from ..config.launch import Launch

# Of a script that says what is to run it.
_FIRST_LINE_BYTES = 512


def start_failure(launch: Launch, environment: Mapping[str, str], error: OSError | ValueError) -> ServerStartError:
    """The error for a program that the system did not start.

    Args:
        launch: The program.
        environment: The variables that it inherits.
        error: What the system said.
    """
    command = repr(launch.command)
    if isinstance(error, FileNotFoundError):
        if (problem := _interpreter_problem(launch, environment)) is not None:
            return cannot_start(launch, *problem)
        hint = _split_hint(launch) or "Install it, or give its full path as command."
        return cannot_start(launch, f"the command {command} was not found", hint, is_missing=True)
    if isinstance(error, PermissionError):
        hint = "Make the file executable, or start it by its interpreter."
        return cannot_start(launch, f"the command {command} is not executable", hint)
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return cannot_start(launch, f"the command {command} failed: {reason}", None)


def _split_hint(launch: Launch) -> str | None:
    """How to split a command line that was given as a command."""
    try:
        command, *args = shlex.split(launch.command)
    except ValueError:
        return None
    if not args or launch.args:
        return None
    return f"It is a whole command line. Split it: command={command!r}, args={args!r}."


def cannot_start(launch: Launch, problem: str, hint: str | None, *, is_missing: bool = False) -> ServerStartError:
    """The error for a server's program that does not start.

    Args:
        launch: The program.
        problem: In words.
        hint: What to do.
        is_missing: Whether there is no such command.
    """
    return ServerStartError(
        f"Server {launch.server_name!r} could not be started: {problem}.",
        server_name=launch.server_name,
        is_command_missing=is_missing,
        sent=False,
        hint=hint,
    )


def _interpreter_problem(launch: Launch, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The problem with an existing command whose interpreter is missing, and a hint; `None` if it does not exist."""
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
        hint = "The file has Windows line endings: convert it (dos2unix)."
        return (
            f"the first line of {launch.command!r} names no interpreter that exists: it ends with a carriage return",
            hint,
        )
    problem = f"{launch.command!r} names the interpreter {interpreter!r}, which does not exist"
    return problem, "Install the script again (a virtual environment cannot be moved), or fix its first line."
