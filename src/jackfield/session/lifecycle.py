"""`Lifecycle`: the states of a session, and what leads from one to another; and `News`, what its users know of losses.

`TRANSITIONS` is the whole machine. A session's owner only fires causes; it never sets a state. A cause that the table
does not have for the present state is a fault in Jackfield, and raises.

A session that is reopened after a loss is of a new generation, and the state that its server kept for the earlier ones
was lost. Each user of the session is informed once: users of a `Session`, of a kept session, of the shell, and who
open a named session that was lost while nobody had it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from ..errors import JackfieldError

StateName = Literal["opening", "open", "recovering", "lost", "closing", "closed"]
"""The states by name, as `SessionInfo` shows them."""


class State(StrEnum):
    """The states of a session."""

    OPENING = "opening"
    """It is being opened for the first time."""
    OPEN = "open"
    RECOVERING = "recovering"
    """It was lost and is being reopened."""
    LOST = "lost"
    """Recovery failed; the next call tries again."""
    CLOSING = "closing"
    CLOSED = "closed"
    """No connection and no process remains."""


class Cause(StrEnum):
    """The causes of state changes. Those that close a session are the `reason` of `SessionClosed`."""

    OPENED = "opened"
    """The handshake is complete."""
    RETRIED = "retried"
    """An attempt to open failed, and another follows."""
    OPENING_FAILED = "opening failed"
    """The first opening failed for good."""
    RECOVERY_FAILED = "recovery failed"
    """The last attempt to reopen it failed."""

    DISCONNECTED = "disconnected"
    """The process ended, or the stream of messages did."""
    FORGOTTEN = "forgotten"
    """The server no longer knows the session's id."""
    CONFLICTED = "conflicted"
    """The server refuses the session because of another one."""
    UNRESPONSIVE = "unresponsive"
    """The server did not answer a liveness check."""

    CALLED = "called"
    """A caller needs the session although its recovery failed."""
    REFRESHED = "refreshed"
    """The user asked for a new connection."""

    RELEASED = "released"
    """The last lease was released, or the user closed the session."""
    IDLE = "idle"
    """Unused for `idle_timeout` seconds."""
    EVICTED = "evicted"
    """Closed to make room for another session."""
    MANAGER = "manager"
    """The manager exits."""
    UNNEEDED = "lost"
    """Lost while not in use."""

    ENDED = "ended"
    """Everything that belonged to the session is closed."""
    CUT_OFF = "cancelled"
    """The session's task was cancelled, or its event loop has ended."""


TRANSITIONS: dict[tuple[State, Cause], State] = {
    (State.OPENING, Cause.OPENED): State.OPEN,
    (State.OPENING, Cause.RETRIED): State.OPENING,
    (State.OPENING, Cause.OPENING_FAILED): State.CLOSED,
    (State.OPENING, Cause.RELEASED): State.CLOSING,
    (State.OPENING, Cause.MANAGER): State.CLOSING,
    (State.OPENING, Cause.CUT_OFF): State.CLOSED,
    (State.OPEN, Cause.DISCONNECTED): State.RECOVERING,
    (State.OPEN, Cause.FORGOTTEN): State.RECOVERING,
    (State.OPEN, Cause.CONFLICTED): State.RECOVERING,
    (State.OPEN, Cause.UNRESPONSIVE): State.RECOVERING,
    (State.OPEN, Cause.REFRESHED): State.RECOVERING,
    (State.OPEN, Cause.RELEASED): State.CLOSING,
    (State.OPEN, Cause.IDLE): State.CLOSING,
    (State.OPEN, Cause.EVICTED): State.CLOSING,
    (State.OPEN, Cause.MANAGER): State.CLOSING,
    (State.OPEN, Cause.CUT_OFF): State.CLOSED,
    (State.RECOVERING, Cause.OPENED): State.OPEN,
    (State.RECOVERING, Cause.RETRIED): State.RECOVERING,
    (State.RECOVERING, Cause.REFRESHED): State.RECOVERING,
    (State.RECOVERING, Cause.RECOVERY_FAILED): State.LOST,
    (State.RECOVERING, Cause.UNNEEDED): State.CLOSING,
    (State.RECOVERING, Cause.RELEASED): State.CLOSING,
    (State.RECOVERING, Cause.MANAGER): State.CLOSING,
    (State.RECOVERING, Cause.CUT_OFF): State.CLOSED,
    (State.LOST, Cause.CALLED): State.RECOVERING,
    (State.LOST, Cause.REFRESHED): State.RECOVERING,
    (State.LOST, Cause.UNNEEDED): State.CLOSING,
    (State.LOST, Cause.RELEASED): State.CLOSING,
    (State.LOST, Cause.MANAGER): State.CLOSING,
    (State.LOST, Cause.CUT_OFF): State.CLOSED,
    (State.CLOSING, Cause.ENDED): State.CLOSED,
}


class UnexpectedCauseError(Exception):
    """A cause was fired that `TRANSITIONS` does not have for the state: a fault in Jackfield."""


class Lifecycle:
    """The state of one session, and how it came to be.

    Args:
        generation: How often a session of the same key was opened before.
        on_change: Called after every transition.
    """

    def __init__(self, generation: int = 0, on_change: Callable[[], None] = lambda: None) -> None:
        self.state: State = State.OPENING
        self.since: float = time.time()
        """When it came into this state, in seconds since the epoch."""
        self.cause: Cause | None = None
        """What led to this state; `None` at the start."""
        self.closed_by: Cause | None = None
        """Why it is closing or closed."""
        self.error: JackfieldError | None = None
        """The failure since it was last open: why it failed to open, or how it was lost."""
        self.generation: int = generation
        """How often the session was opened: 1, and one more for each recovery."""
        self.opened_at: float | None = None
        """When it was open for the first time, in seconds since the epoch."""
        self.was_open: bool = False
        """Whether it has been open, now or earlier."""
        self.is_usable: bool = True
        """True until closing starts."""
        # Imported here: commands of kept sessions need `News`, and must not wait for anyio.
        from ..loops import Changed

        self._on_change = on_change
        self._changed = Changed()

    def allows(self, cause: Cause) -> bool:
        """Whether the cause leads anywhere from the present state."""
        return (self.state, cause) in TRANSITIONS

    def fire(self, cause: Cause, error: JackfieldError | None = None) -> State:
        """Change the state as the table says.

        Args:
            cause: What happened.
            error: What went wrong, if anything did.

        Raises:
            UnexpectedCauseError: The table does not have this.
        """
        after = TRANSITIONS.get((self.state, cause))
        if after is None:
            raise UnexpectedCauseError(f"A session that is {self.state} cannot be {cause}.")
        if after is not self.state:
            self.since = time.time()
        self.state, self.cause = after, cause
        self.is_usable = after not in (State.CLOSING, State.CLOSED)
        if not self.is_usable and self.closed_by is None:
            self.closed_by = cause
        if cause is Cause.OPENED:
            self.generation += 1
            self.opened_at, self.was_open = self.opened_at or self.since, True
            self.error = None
        elif error is not None:
            self.error = error
        try:
            self._on_change()
        finally:
            self._changed.set()
        return after

    async def until(self, *states: State) -> State:
        """Wait until the session is in one of these states; returns which."""
        await self._changed.until(lambda: self.state in states)
        return self.state

    async def until_not(self, *states: State) -> State:
        """Wait until the session is in none of these states; returns the one it is in."""
        await self._changed.until(lambda: self.state not in states)
        return self.state


@dataclass(eq=False)
class News:
    """What one user knows of one session."""

    known: int = 1
    """The generation whose state the user counts on; a newer one is news."""

    def is_due(self, generation: int) -> bool:
        """Whether a session of this generation has lost state that the user counts on."""
        return generation > self.known

    def tell(self, generation: int) -> bool:
        """Report the lost state of earlier generations to the user; returns whether that was new."""
        is_news = self.is_due(generation)
        self.known = max(self.known, generation)
        return is_news

    def tell_by(self, error: JackfieldError) -> None:
        """The user gets an error, which may report lost state."""
        if error.state_lost and error.generation is not None:
            self.tell(error.generation + 1)

    def lose(self, generation: int) -> None:
        """State that the user counts on is not behind a session of this generation."""
        self.known = min(self.known, generation - 1)
