"""Runs users' own code, and converts unexpected exceptions where callers expect only `JackfieldError`s."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import anyio

from ..errors import JackfieldError, one_line
from ..loops import Deadline, current_task

NOT_SENT = "Nothing was sent."
_WORDS_CHARS = 250


def ends_caller(error: BaseException) -> bool:
    """Whether an exception ends the caller as well: its own cancellation, `KeyboardInterrupt`, `SystemExit`."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(ends_caller, cast("BaseExceptionGroup[BaseException]", error).exceptions))
    if isinstance(error, asyncio.CancelledError):
        # A task that was waited for may have been cancelled, and not the caller.
        task = current_task()
        return isinstance(task, asyncio.Task) and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | anyio.get_cancelled_exc_class())


def in_words(error: BaseException) -> str:
    """An exception in one line, such as `PermissionError: no`; works even if its `__str__` fails."""
    try:
        words = one_line(error.message if isinstance(error, JackfieldError) else str(error), _WORDS_CHARS)
    except Exception:
        words = ""
    kind = type(error).__name__
    return f"{kind}: {words}" if words else kind


def as_error(error: BaseException, what: str, *, server_name: str | None = None) -> JackfieldError:
    """The error for a caller in place of any exception; the exception itself if it is a `JackfieldError`.

    Args:
        error: What was raised.
        what: What failed, such as `The call of 'add'`.
        server_name: The server, where there is one.

    Raises:
        BaseException: The exception itself, if it ends the caller as well.
    """
    if ends_caller(error):
        raise error
    if isinstance(error, JackfieldError):
        return error
    failed = JackfieldError(
        f"{what} failed: {in_words(error).rstrip(' .')}. The call may have been sent to the server.",
        server_name=server_name,
        hint="This is not an error that the server reported. Look up its cause in the log, or continue without the "
        "tool.",
    )
    failed.__cause__ = error
    return failed


@dataclass(frozen=True)
class Answer:
    """How a user's own function ended."""

    value: Any = None
    error: BaseException | None = None
    """What it raised."""
    is_stopped: bool = False
    """Whether it was stopped at the deadline."""
    is_late: bool = False
    """Whether it was stopped at the deadline, or ended after it."""

    @property
    def happened(self) -> str:
        """What it did, for errors, such as `PermissionError: no` or `it returned False`."""
        if self.error is None:
            if isinstance(self.value, bool | None):
                return f"it returned {self.value}"
            kind = type(self.value).__name__
            return f"it returned {'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"
        # What an error of ours says of another call must not be read as said of this one.
        return in_words(self.error).removesuffix(NOT_SENT).rstrip(" .:")


def failed_before(kind: str, function: object, happened: str) -> str:
    """The text of errors if a user's function failed before a call, which is then not made.

    Args:
        kind: What it is, such as `hook`.
        function: The function, or an object of the user's.
        happened: As `Answer` has it.
    """
    return f"The {kind} {name_of(function)!r} failed: {happened}; nothing was sent."


def name_of(function: object) -> str:
    """The name of a user's own function or object, for errors."""
    return getattr(function, "__name__", type(function).__name__)


async def asked(function: Callable[[], Any], deadline: Deadline) -> Answer:
    """Run a user's function, async or not, until a deadline. Its exceptions become an `Answer`.

    A function that blocks the event loop or ignores cancellation cannot be stopped; it is late when it ends.

    Raises:
        BaseException: Only what ends the caller as well: its own cancellation, `KeyboardInterrupt`, `SystemExit`.
    """
    value: object = None
    failure: BaseException | None = None
    with deadline.scope() as scope:
        try:
            returned = function()
            value = await returned if inspect.isawaitable(returned) else returned
        except BaseException as error:
            if ends_caller(error):
                raise
            failure = error
    if inspect.iscoroutine(value):
        value.close()  # An `await` was forgotten; Python would warn of it somewhere else.
    return Answer(value, failure, scope.cancelled_caught, deadline.has_passed)
