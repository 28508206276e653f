"""`SessionStore`: the metadata of sessions and which requests run in them, shared by all instances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .backplane import Backplane
from .limits import ServingLimits
from .records import Principal, RunningCall, SessionRecord

TOOLS_CHANGED = "tools"
PROMPTS_CHANGED = "prompts"
RESOURCES_CHANGED = "resources"


def resource_topic(uri: str) -> str:
    """The topic of one resource's updates."""
    return f"resource:{uri}"


class SessionStore(Protocol):
    """Keeps what is serialisable of sessions. Active streams are kept by a `StreamManager`.

    Everything about a session is gone `ttl` seconds after it was last used or touched. Each method is atomic over all
    instances, and raises `StoreUnavailableError` within its own bound of about 2 seconds where the store cannot be
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
        """The session of this principal, which lives on from now; `None` where it has none of this id (any more).

        A request for the session of another changes nothing: it does not prolong that session's life.

        Raises:
            StoredDataError: Something else is stored in its place.
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
        """Let sessions live on from now; returns those that there are no more."""
        ...

    async def set_log_level(self, session_id: str, level: str) -> None:
        """Change the record. No error where the session is gone."""
        ...

    async def delete(self, session_id: str) -> Sequence[RunningCall] | None:
        """Remove everything about the session; returns the calls that ran in it, `None` where there was no session."""
        ...

    async def live(self, principal: Principal | None = None) -> Sequence[str]:
        """The ids of all sessions, or of all of one principal."""
        ...

    async def count(self) -> int:
        """How many sessions there are; some of them may have expired just now."""
        ...

    # Which sessions hear what

    async def subscribe(self, session_id: str, topics: Iterable[str], limits: ServingLimits) -> None:
        """Let the session hear of topics for as long as it lives. No error where the session is gone.

        Raises:
            ServingLimitError: It would hear of more than `limits.subscriptions_per_session`; nothing was changed.
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
        """Store it, or remove it for `None`. It lives as long as the session; no error where that is gone."""
        ...
