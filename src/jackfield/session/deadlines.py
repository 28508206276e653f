"""Time limits: `Deadline` of a request, and `IdleClock` of a session that nobody uses."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType

import anyio


class DeadlineScope:
    """Enters a cancel scope that ends at a deadline.

    Args:
        scopes: Those that have been entered and not been left.
        at: The deadline.
    """

    __slots__: tuple[str, ...] = ("_scope", "_scopes")

    def __init__(self, scopes: list[anyio.CancelScope], at: float) -> None:
        self._scopes = scopes
        self._scope = anyio.CancelScope(deadline=at)

    def __enter__(self) -> anyio.CancelScope:
        self._scope.__enter__()
        self._scopes.append(self._scope)
        return self._scope

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._scopes.remove(self._scope)
        return self._scope.__exit__(exc_type, exc, traceback)


class Deadline:
    """The time by which a request must be done, regardless of its number of steps.

    Every step gets the same object, so no step can start its own timeout. A step waits inside `scope()`:
    extending the deadline then also moves the end of waits that have begun.

    Args:
        seconds: How long the request may take in all, for errors; `None`: without end.
        at: The time in the event loop's clock.
    """

    __slots__: tuple[str, ...] = ("_scopes", "at", "on_progress", "seconds")

    def __init__(self, seconds: float | None, at: float) -> None:
        self.seconds: float | None = seconds
        self.at: float = at
        self.on_progress: ProgressReset | None = None
        """Extends it whenever the server reports progress, if the call allows that."""
        self._scopes: list[anyio.CancelScope] = []

    def __repr__(self) -> str:
        return f"<Deadline seconds={self.seconds} at={self.at:g}>"

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """That many seconds from now."""
        return cls(seconds, math.inf if seconds is None else anyio.current_time() + seconds)

    @classmethod
    def of(cls, bound: Bound, setting: float | None) -> Deadline:
        """The deadline for a timeout; the server's setting if omitted."""
        if isinstance(bound, Deadline):
            return bound
        return cls.after(setting if bound is None else bound)

    def not_before(self, seconds: float) -> Deadline:
        """A new deadline at the same time, or that many seconds from now if that is later."""
        return Deadline(self.seconds, max(self.at, anyio.current_time() + seconds))

    def extend(self, at: float) -> None:
        """Move the deadline to a later time, also for the waits that have begun; an earlier time changes nothing."""
        before, self.at = self.at, max(self.at, at)
        if self.seconds is not None:
            self.seconds = None if self.at == math.inf else self.seconds + self.at - before
        for scope in self._scopes:
            if scope.deadline == before:  # one that ends earlier has a bound of its own
                scope.deadline = self.at

    def scope(self) -> DeadlineScope:
        """A cancel scope that ends at the deadline, wherever that is moved to."""
        return DeadlineScope(self._scopes, self.at)

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


class ProgressReset:
    """Starts the time of a call again whenever the server reports progress, up to a maximum in all.

    Args:
        deadline: Of the call, before the call begins.
        total_seconds: How long the call may take in all. A longer `call_timeout` counts all the same.

    Source: MCP 2025-11-25, basic/lifecycle "Timeouts".
    """

    __slots__: tuple[str, ...] = ("_deadline", "_latest", "_seconds", "has_reset", "total_seconds")

    def __init__(self, deadline: Deadline, total_seconds: float) -> None:
        self.total_seconds: float = max(total_seconds, deadline.seconds or 0.0)
        self.has_reset: bool = False
        self._deadline = deadline
        self._seconds = deadline.seconds
        self._latest = anyio.current_time() + self.total_seconds

    def reset(self) -> None:
        """The server reported progress."""
        if self._seconds is not None:
            self.has_reset = True
            self._deadline.extend(min(anyio.current_time() + self._seconds, self._latest))

    @property
    def seconds(self) -> float | None:
        """How long the call may take without progress."""
        return self._seconds

    @property
    def is_at_total(self) -> bool:
        """Whether no further progress can move the deadline."""
        return self.has_reset and self._deadline.at >= self._latest


Bound = float | Deadline | None
"""Seconds for this request, or the deadline of the request that it is part of; `None`: the server's setting."""


class IdleClock:
    """Expires unless it is set again in time.

    Every lease sets it twice, so the event loop's timer is only changed if it would expire too late.
    """

    def __init__(self) -> None:
        self._expires_at = math.inf
        self._timer: anyio.CancelScope | None = None

    def set(self, seconds: float | None) -> None:
        """Expire in this many seconds; `None`: never."""
        self._expires_at = math.inf if seconds is None else anyio.current_time() + seconds
        if self._timer is not None and self._expires_at < self._timer.deadline:
            self._timer.deadline = self._expires_at

    async def run(self, on_expiry: Callable[[], None]) -> None:
        """Call a function at every expiry, until cancelled."""
        try:
            while True:
                with anyio.CancelScope(deadline=self._expires_at) as self._timer:
                    await anyio.sleep_forever()
                if anyio.current_time() >= self._expires_at:
                    self._expires_at = math.inf
                    on_expiry()
        finally:
            self._timer = None
