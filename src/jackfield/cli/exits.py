"""Exit codes: one table from error codes to exit codes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Generator
from types import FrameType

from ..errors import JackfieldError

OK = 0
TOOL_ERROR = 1
USAGE = 2
CONFIGURATION = 3
CONNECTION = 4
AUTHENTICATION = 5
TIMEOUT = 6
NOT_TRUSTED = 7
INTERNAL = 70
"""A fault of Jackfield itself (`EX_SOFTWARE`)."""
OUTPUT = 74
"""The output could not be written (`EX_IOERR`)."""
INTERRUPTED = 130
BROKEN_PIPE = 141
"""The reader of the output is gone; the shell reports the same for programs that die of SIGPIPE."""

_OF_CODE = {
    "tool_error": TOOL_ERROR,
    "request_failed": TOOL_ERROR,
    "call_denied": TOOL_ERROR,
    "hook_failed": TOOL_ERROR,
    "state_lost": TOOL_ERROR,
    "usage": USAGE,
    "unknown_server": USAGE,
    "unknown_tool": USAGE,
    "invalid_arguments": USAGE,
    "config_invalid": CONFIGURATION,
    "start_failed": CONNECTION,
    "unavailable": CONNECTION,
    "session_terminated": CONNECTION,
    "session_expired": CONNECTION,
    "session_invalid": CONNECTION,
    "session_conflict": CONNECTION,
    "limit_exceeded": CONNECTION,
    "keeper_failed": CONNECTION,
    "store_unavailable": CONNECTION,
    "auth_required": AUTHENTICATION,
    "session_timeout": TIMEOUT,
    "pool_timeout": TIMEOUT,
    "not_trusted": NOT_TRUSTED,
    "output_failed": OUTPUT,
    "internal": INTERNAL,
}


@contextlib.contextmanager
def unwound_by_signals() -> Generator[None]:
    """SIGTERM and SIGHUP leave the block as an exception does: what it opened is closed."""
    from ..transport.spawn import ENDING

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    mine = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def ended_by(number: int | None) -> int:
    """The exit code of a program that a signal ended, as shells give it; of one that ended by itself if `None`."""
    if number is None:
        return OK
    return INTERRUPTED if number == signal.SIGINT else 128 + number


class ReaderGoneError(Exception):
    """The reader of stdout is gone; not an `OSError`, which typer would turn into its own exit code."""


class UsageError(JackfieldError, ValueError):
    """The command line is wrong."""

    code = "usage"


class OutputError(JackfieldError):
    """The output could not be written."""

    code = "output_failed"

    @classmethod
    def because(cls, error: OSError) -> OutputError:
        """The error for what the system said."""
        return cls(
            f"The output could not be written: {error.strerror or error}.",
            hint="Free some space, or write to another place.",
        )


class InternalError(JackfieldError):
    """A fault of Jackfield itself."""

    code = "internal"


def exit_code(error: JackfieldError) -> int:
    """What the command exits with for an error."""
    return _OF_CODE.get(error.code, CONNECTION)
