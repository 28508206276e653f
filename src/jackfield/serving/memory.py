"""Sessions of one process: the same behaviour as over a store, and nothing to install. Streams: `memory_streams`."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from .backplane import Told
from .errors import RequestRunsError, ServingLimitError
from .limits import ServingLimits
from .records import Principal, RunningCall, SessionRecord

PRUNE_SECONDS = 30.0
"""Minimum interval between searches for what has expired."""

_K = TypeVar("_K")
_M = TypeVar("_M")
_V = TypeVar("_V")


class InMemoryBackplane:
    """The instances of one process: as a rule one."""

    def __init__(self) -> None:
        self._told: dict[str, Told] = {}

    @property
    def is_shared(self) -> bool:
        """Whether there are several."""
        return len(self._told) > 1

    @asynccontextmanager
    async def join(self, instance: str, told: Told, reconnected: object) -> AsyncGenerator[None]:
        """Be one of the instances for a while."""
        self._told[instance] = told
        try:
            yield
        finally:
            del self._told[instance]

    async def tell(self, instance: str, message: str) -> bool:
        """Send a message to one instance; whether it is there."""
        if (told := self._told.get(instance)) is None:
            return False
        told(message)
        return True

    async def tell_all(self, message: str) -> None:
        """Send a message to every instance."""
        for told in list(self._told.values()):
            told(message)

    async def is_alive(self, instance: str) -> bool:
        """Whether an instance is there."""
        return instance in self._told

    async def dead(self) -> Sequence[str]:
        """None: what dies, dies with its process."""
        return ()

    async def bury(self, instance: str) -> None:
        """Nothing is kept of a dead instance."""


@dataclass
class _Session:
    record: SessionRecord
    used_at: float
    calls: dict[str, RunningCall] = field(default_factory=dict[str, RunningCall])
    topics: set[str] = field(default_factory=set[str])
    state: dict[str, str] = field(default_factory=dict[str, str])


class InMemorySessionStore:
    """A `SessionStore` in this process."""

    def __init__(self) -> None:
        self._backplane = InMemoryBackplane()
        # The least recently used first, so that what has expired is found at once.
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._topics: dict[str, dict[str, None]] = {}
        self._of: dict[Principal, dict[str, None]] = {}
        self._ttl = 0.0

    @property
    def backplane(self) -> InMemoryBackplane:
        """How instances that share this store reach each other."""
        return self._backplane

    @asynccontextmanager
    async def open(self, *, ttl: float) -> AsyncGenerator[None]:
        """Nothing to connect; see `SessionStore.open`."""
        self._ttl = ttl
        yield

    def _prune(self) -> None:
        oldest = time.monotonic() - self._ttl
        while self._sessions:
            session_id, session = next(iter(self._sessions.items()))
            if session.used_at > oldest:
                return
            self._remove(session_id)

    def _remove(self, session_id: str) -> _Session | None:
        if (session := self._sessions.pop(session_id, None)) is None:
            return None
        for topic in session.topics:
            discard(self._topics, topic, session_id)
        if session.record.principal is not None:
            discard(self._of, session.record.principal, session_id)
        return session

    def _use(self, session_id: str) -> _Session | None:
        self._prune()
        if (session := self._sessions.get(session_id)) is not None:
            session.used_at = time.monotonic()
            self._sessions.move_to_end(session_id)
        return session

    def _use_own(self, session_id: str, principal: Principal | None) -> _Session | None:
        session = self._sessions.get(session_id)
        return self._use(session_id) if session is not None and session.record.principal == principal else None

    async def create(self, record: SessionRecord, limits: ServingLimits) -> None:
        """See `SessionStore.create`."""
        self._prune()
        if len(self._sessions) >= limits.sessions:
            raise too_many_sessions(limits)
        if (principal := record.principal) is not None:
            if len(self._of.get(principal, ())) >= limits.sessions_per_user:
                raise too_many_sessions(limits, is_of_user=True)
            self._of.setdefault(principal, {})[record.session_id] = None
        self._sessions[record.session_id] = _Session(record, time.monotonic())

    async def find(self, session_id: str, principal: Principal | None) -> SessionRecord | None:
        """See `SessionStore.find`."""
        session = self._use_own(session_id, principal)
        return None if session is None else session.record

    async def claim(
        self, session_id: str, principal: Principal | None, call: RunningCall, limits: ServingLimits
    ) -> SessionRecord | None:
        """See `SessionStore.claim`."""
        if (session := self._use_own(session_id, principal)) is None:
            return None
        if call.request_id in session.calls:
            raise request_runs()
        if len(session.calls) >= limits.requests_per_session:
            raise too_many_requests(limits)
        session.calls[call.request_id] = call
        return session.record

    async def release(self, session_id: str, call: RunningCall) -> bool:
        """See `SessionStore.release`."""
        session = self._sessions.get(session_id)
        if session is None or session.calls.get(call.request_id) != call:
            return False
        del session.calls[call.request_id]
        return True

    async def running(self, session_id: str, request_id: str) -> RunningCall | None:
        """See `SessionStore.running`."""
        session = self._sessions.get(session_id)
        return None if session is None else session.calls.get(request_id)

    async def running_on(self, instance: str) -> Sequence[tuple[str, RunningCall]]:
        """See `SessionStore.running_on`."""
        return [
            (session_id, call)
            for session_id, session in self._sessions.items()
            for call in session.calls.values()
            if call.instance == instance
        ]

    async def touch(self, session_ids: Sequence[str]) -> Sequence[str]:
        """See `SessionStore.touch`."""
        return [session_id for session_id in session_ids if self._use(session_id) is None]

    async def unused_for(self, session_id: str) -> float | None:
        """See `SessionStore.unused_for`."""
        self._prune()
        session = self._sessions.get(session_id)
        return None if session is None else time.monotonic() - session.used_at

    async def set_log_level(self, session_id: str, level: str) -> None:
        """See `SessionStore.set_log_level`."""
        if (session := self._sessions.get(session_id)) is not None:
            session.record = replace(session.record, log_level=level)

    async def delete(self, session_id: str) -> Sequence[RunningCall] | None:
        """See `SessionStore.delete`."""
        self._prune()
        session = self._remove(session_id)
        return None if session is None else list(session.calls.values())

    async def live(self, principal: Principal | None = None) -> Sequence[str]:
        """See `SessionStore.live`."""
        self._prune()
        return list(self._sessions if principal is None else self._of.get(principal, ()))

    async def count(self) -> int:
        """See `SessionStore.count`."""
        self._prune()
        return len(self._sessions)

    async def subscribe(self, session_id: str, topics: Iterable[str], limits: ServingLimits) -> None:
        """See `SessionStore.subscribe`."""
        if (session := self._sessions.get(session_id)) is None:
            return
        wanted = session.topics | set(topics)
        if len(wanted) > max(limits.subscriptions_per_session, len(session.topics)):
            raise too_many_subscriptions(limits)
        for topic in wanted - session.topics:
            self._topics.setdefault(topic, {})[session_id] = None
        session.topics = wanted

    async def unsubscribe(self, session_id: str, topics: Iterable[str]) -> None:
        """See `SessionStore.unsubscribe`."""
        if (session := self._sessions.get(session_id)) is not None:
            for topic in topics:
                session.topics.discard(topic)
                discard(self._topics, topic, session_id)

    async def subscribers(self, topic: str) -> Sequence[str]:
        """See `SessionStore.subscribers`."""
        self._prune()
        return list(self._topics.get(topic, ()))

    async def get_state(self, session_id: str, key: str) -> str | None:
        """See `SessionStore.get_state`."""
        session = self._sessions.get(session_id)
        return None if session is None else session.state.get(key)

    async def set_state(self, session_id: str, key: str, value: str | None) -> None:
        """See `SessionStore.set_state`."""
        if (session := self._sessions.get(session_id)) is None:
            return
        if value is None:
            session.state.pop(key, None)
        else:
            session.state[key] = value

    async def swap_state(self, session_id: str, key: str, expected: str | None, value: str) -> str | None:
        """See `SessionStore.swap_state`."""
        if (session := self._sessions.get(session_id)) is None:
            return None
        if session.state.get(key) == expected:
            session.state[key] = value
        return session.state.get(key)


def too_many_sessions(limits: ServingLimits, *, is_of_user: bool = False) -> ServingLimitError:
    """The error for a session that is one too many, in all or of one user."""
    if is_of_user:
        return ServingLimitError(
            "No session was opened: this user has too many",
            bound="sessions_per_user",
            maximum=limits.sessions_per_user,
        )
    return ServingLimitError(
        "No session was opened: the server has too many", bound="sessions", maximum=limits.sessions
    )


def request_runs() -> RequestRunsError:
    """The error for a request id that is in use."""
    text = "A request with this id is already running in the session; it was not started again."
    return RequestRunsError(text, sent=False)


def too_many_requests(limits: ServingLimits) -> ServingLimitError:
    """The error for a request that is one too many in its session."""
    return ServingLimitError(
        "The request was not started: too many are running in this session",
        bound="requests_per_session",
        maximum=limits.requests_per_session,
    )


def too_many_subscriptions(limits: ServingLimits) -> ServingLimitError:
    """The error for a subscription that is one too many in its session."""
    return ServingLimitError(
        "The subscription was not made: the session has too many",
        bound="subscriptions_per_session",
        maximum=limits.subscriptions_per_session,
    )


def discard(index: dict[_K, dict[_M, _V]], key: _K, member: _M) -> None:
    """Remove a member of an index, and its key if that was the last one."""
    if (members := index.get(key)) is not None:
        members.pop(member, None)
        if not members:
            del index[key]
