"""`SessionStore`: the metadata of sessions and which requests run in them, shared by all instances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from .backplane import Backplane
from .limits import ServingLimits
from .records import Principal, RunningCall, SessionRecord

SHARE_SECONDS = 60.0

TOOLS_CHANGED = "tools"
PROMPTS_CHANGED = "prompts"
RESOURCES_CHANGED = "resources"


def resource_topic(uri: str) -> str:
    """The topic of one resource's updates."""
    return f"resource:{uri}"


@runtime_checkable
class CountsCalls(Protocol):
    """A store in which instances count together what each user calls; without it, each instance counts for itself."""

    async def begin_call(self, principal: Principal | None, maximum: int) -> float | None:
        """Count a call of a user; `None` if it may be made, else the seconds until another may, and it is not counted.

        Args:
            principal: The user; all are one where clients are not checked.
            maximum: Calls within a minute.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        ...


@runtime_checkable
class SharesBounds(Protocol):
    """A store by which instances keep a bound together, such as that on the calls of a user that run at the same time.

    Each has a share of it, and counts against that by itself. Shares of instances that are dead do not count.
    """

    async def take_share(self, name: str, instance: str, in_use: int, wanted: int, maximum: int) -> int:
        """Change an instance's share, as far as those of others leave room for it; returns what it has then.

        A share is kept for `SHARE_SECONDS`; take it again before that.

        Args:
            name: Of what is bounded.
            instance: Which has joined the backplane.
            in_use: What it uses of the bound now; its share is never smaller.
            wanted: What it would like to have; with 0, and nothing in use, its share ends.
            maximum: Of all shares together.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        ...


@runtime_checkable
class KeepsValues(Protocol):
    """A store of texts that belong to no session, in groups."""

    async def get_value(self, group: str, key: str) -> str | None:
        """A text, if it is there and has not expired.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        ...

    async def swap_value(self, group: str, key: str, expected: str | None, value: str | None, seconds: float) -> bool:
        """Replace a text, if it is as expected; whether it was.

        Args:
            group: What it is for.
            key: Its name there.
            expected: What is there now; `None` for nothing.
            value: The new text; `None` for none.
            seconds: How long it is kept.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        ...

    async def values(self, group: str, most: int) -> Sequence[tuple[str, str]]:
        """Names and texts of a group, those first that expire first.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        ...


class SessionStore(Protocol):
    """Stores the serialisable part of sessions. A `StreamManager` keeps active streams.

    All data of a session expires `ttl` seconds after it was last used or touched. Each method is atomic over all
    instances, and raises `StoreUnavailableError` within about 2 seconds if the store cannot be
    reached; it then may or may not have taken effect.
    """

    @property
    def backplane(self) -> Backplane:
        """How instances that share this store reach each other."""
        ...

    def open(self, *, ttl: float) -> AbstractAsyncContextManager[None]:
        """Connect, check that the store fits, and close at the end.

        Args:
            ttl: Seconds that a session lives without being used.

        Raises:
            StoreUnavailableError: The store cannot be reached.
            ConfigError: It is set up in a way that would lose sessions, or lacks its tables.
        """
        ...

    async def create(self, record: SessionRecord, limits: ServingLimits) -> None:
        """Store a new session.

        Raises:
            ServingLimitError: There are `limits.sessions`, or the principal has `limits.sessions_per_user`.
        """
        ...

    async def find(self, session_id: str, principal: Principal | None) -> SessionRecord | None:
        """The session of this principal, whose life is extended; `None` if it has none with this id.

        A request for another principal's session changes nothing and does not extend its life.

        Raises:
            StoredDataError: Foreign data is stored in its place.
        """
        ...

    async def claim(
        self, session_id: str, principal: Principal | None, call: RunningCall, limits: ServingLimits
    ) -> SessionRecord | None:
        """As `find`, and note that the call runs. For the session of another, nothing is raised or noted.

        Raises:
            RequestRunsError: A call with the same request id runs in this session; nothing was noted.
            ServingLimitError: `limits.requests_per_session` calls run in it; nothing was noted.
            StoredDataError: Something else is stored in the session's place.
        """
        ...

    async def release(self, session_id: str, call: RunningCall) -> bool:
        """The call runs no more; whether it was noted as running. Another call of the same id stays."""
        ...

    async def running(self, session_id: str, request_id: str) -> RunningCall | None:
        """The call of this id that runs in the session."""
        ...

    async def running_on(self, instance: str) -> Sequence[tuple[str, RunningCall]]:
        """All calls that an instance runs, each with its session's id."""
        ...

    async def touch(self, session_ids: Sequence[str]) -> Sequence[str]:
        """Extend the life of sessions; returns those that no longer exist."""
        ...

    async def unused_for(self, session_id: str) -> float | None:
        """Seconds since the session was last used, on whichever instance; `None` if it no longer exists.

        A use within the last second or so may not be known yet.
        """
        ...

    async def set_log_level(self, session_id: str, level: str) -> None:
        """Change the record. No error if the session no longer exists."""
        ...

    async def delete(self, session_id: str) -> Sequence[RunningCall] | None:
        """Delete all data of the session; returns its running calls, `None` if there was no session."""
        ...

    async def live(self, principal: Principal | None = None) -> Sequence[str]:
        """The ids of all sessions, or of all of one principal."""
        ...

    async def count(self) -> int:
        """How many sessions there are; some of them may have expired just now."""
        ...

    # Which sessions hear what

    async def subscribe(self, session_id: str, topics: Iterable[str], limits: ServingLimits) -> None:
        """Subscribe the session to topics for as long as it lives. No error if it no longer exists.

        Raises:
            ServingLimitError: More than `limits.subscriptions_per_session`; nothing was changed.
        """
        ...

    async def unsubscribe(self, session_id: str, topics: Iterable[str]) -> None:
        """End that."""
        ...

    async def subscribers(self, topic: str) -> Sequence[str]:
        """The ids of the live sessions that hear of a topic."""
        ...

    # Application state

    async def get_state(self, session_id: str, key: str) -> str | None:
        """What the application stored in the session, as JSON text."""
        ...

    async def set_state(self, session_id: str, key: str, value: str | None) -> None:
        """Store it, or delete it for `None`. It lives as long as the session; no error if that no longer exists."""
        ...

    async def swap_state(self, session_id: str, key: str, expected: str | None, value: str) -> str | None:
        """Store a value if the present one is as expected, `None` for none; returns what is stored then.

        For what one instance claims and others respect. `None` if the session no longer exists.
        """
        ...
