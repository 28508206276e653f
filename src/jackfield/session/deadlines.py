"""`Deadline`: when all of a call must be done; and `asked`, which runs a user's own code under it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import anyio

from .boundary import NOT_SENT, ends_caller, in_words


@dataclass(frozen=True)
class Deadline:
    """When all that somebody asked for must be done, however many requests it takes."""

    seconds: float | None
    """How long that is, for errors; `None`: for ever."""
    at: float
    """In the event loop's time."""

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """That many seconds from now."""
        return cls(seconds, math.inf if seconds is None else anyio.current_time() + seconds)

    def not_before(self, seconds: float) -> Deadline:
        """The same, or that many seconds from now if that is later."""
        return replace(self, at=max(self.at, anyio.current_time() + seconds))

    @property
    def seconds_left(self) -> float:
        """Until it has passed; 0 from then on."""
        return max(self.at - anyio.current_time(), 0.0)

    @property
    def left(self) -> float | None:
        """The same for what takes a `call_timeout`; `None` if it never passes."""
        return None if self.seconds is None else self.seconds_left

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return anyio.current_time() >= self.at


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
    """What errors say where a user's own function failed before a call, which is not made for that.

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
    """Run a user's own function, async or not, until a deadline. Whatever it raises becomes an `Answer`.

    A function that blocks the event loop, or goes on when it is cancelled, cannot be stopped: it is late once it ends.

    Raises:
        BaseException: Only what ends the caller as well: its own cancellation, `KeyboardInterrupt`, `SystemExit`.
    """
    value: object = None
    failure: BaseException | None = None
    with anyio.CancelScope(deadline=deadline.at) as scope:
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
