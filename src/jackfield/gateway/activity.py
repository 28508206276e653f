"""`Activity`: what a gateway does and did, in bounded memory: its calls, figures by server, tool and user, and what
became of sessions with servers. The page and the metrics read it here.

All of it runs on the gateway's event loop. No text that it holds has a secret, an argument or a result in it.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Generic, TypeVar

import anyio
from mcp import MCPError

from ..errors import CallDeniedError, JackfieldError, RequestError, one_line
from ..events import (
    Event,
    LimitReached,
    RecoveryFailed,
    SessionEvicted,
    SessionFailed,
    SessionLost,
    SessionOpened,
    SessionRecovered,
)
from ..masking import mask
from .figures import Figures, HourlyTotals, Minute, Totals, percentile
from .relayed_call import RelayedCall

MOST_CALLS = 500
"""How many calls that ended are kept, the newest."""
MOST_ERRORS = 200
MOST_INCIDENTS = 200
MOST_NAMED = 2_000
"""How many tools, and how many users, have figures; those not used for the longest time are dropped first."""
_TEXT_CHARS = 300
_T = TypeVar("_T")


@dataclass(slots=True)
class Call:
    """One call of a tool, or another request that goes to a server."""

    number: int
    """Counts them since the gateway was started."""
    began_at: float
    """Seconds since the epoch."""
    user: str | None
    """Whose token the client has; `None` if tokens are not checked."""
    client: str
    """Its name and version, as it says."""
    session: str
    """The key of its sessions with servers."""
    server: str
    method: str
    name: str
    """The tool, prompt or URI, as the server names it."""
    ms: float | None = None
    """How long it took; `None` while it is under way."""
    outcome: str | None = None
    """`ok`, `error` (the tool's own), `input_required`, `denied`, `limited`, `failed` or `cancelled`; `None` while it
    is under way."""
    error: str | None = None
    """Why there is no result: an error's code and first line."""


@dataclass(frozen=True)
class ToolFigures:
    """Of one tool."""

    server: str
    name: str
    figures: Figures


@dataclass(frozen=True)
class SessionIncident:
    """What happened to a session with a server."""

    at: float
    server: str
    session: str | None
    """The session's key."""
    kind: str
    """`not_opened`, `lost`, `recovered`, `not_recovered`, `evicted`, `limit_reached` or `restarted`."""
    text: str


@dataclass(frozen=True)
class ActivitySnapshot:
    """The current state of an `Activity`. Lists begin with the newest."""

    at: float
    live: list[Call]
    recent: list[Call]
    errors: list[Call]
    servers: Mapping[str, Figures]
    tools: list[ToolFigures]
    """By server and name."""
    users: Mapping[str, Figures]
    """By name; without those of whom no token is checked."""
    incidents: list[SessionIncident]
    limits: Mapping[str, int]
    """How often each bound was reached."""


class _Newest(Generic[_T]):
    """Values by key, of which those are kept that were used last."""

    def __init__(self, new: Callable[[], _T]) -> None:
        self._new = new
        self._values: OrderedDict[tuple[str, ...], _T] = OrderedDict()

    def get(self, *key: str) -> _T:
        value = self._values.get(key)
        if value is None:
            if len(self._values) >= MOST_NAMED:
                self._values.popitem(last=False)
            value = self._values[key] = self._new()
        else:
            self._values.move_to_end(key)
        return value

    def peek(self, *key: str) -> _T | None:
        return self._values.get(key)

    def items(self) -> list[tuple[tuple[str, ...], _T]]:
        return list(self._values.items())


class Activity:
    """What a gateway does and did."""

    def __init__(self) -> None:
        self._number = 0
        self._live: dict[int, Call] = {}
        self._recent: deque[Call] = deque(maxlen=MOST_CALLS)
        self._errors: deque[Call] = deque(maxlen=MOST_ERRORS)
        self._incidents: deque[SessionIncident] = deque(maxlen=MOST_INCIDENTS)
        self._servers = _Newest(HourlyTotals)
        self._users = _Newest(Totals)
        self._tools = _Newest(HourlyTotals)
        self._lost: dict[tuple[str, str | None], float] = {}
        self._limits: Counter[str] = Counter()
        self._changed = anyio.Event()
        self.on_ended: list[Callable[[Call], None]] = []
        """Called with each call that ended."""
        self.on_incident: list[Callable[[SessionIncident], None]] = []
        """Called with what happens to sessions."""
        self.on_limit: list[Callable[[str], None]] = []
        """Called with the name of each bound that was reached."""

    def call(self, call: RelayedCall) -> AbstractContextManager[Call]:
        """Note a call from its beginning to its end. Set its `outcome` where there is a result.

        Args:
            call: The call.
        """
        return _Noting(self, call)

    def begin(self, call: RelayedCall) -> Call:
        """Note that a call begins; `call` does."""
        self._number += 1
        noted = Call(
            self._number,
            time.time(),
            call.client.user_name,
            call.client.name,
            call.client.key,
            call.target.config.server_name,
            call.method,
            call.target.name,
        )
        self._live[noted.number] = noted
        for totals in self._totals_of(noted):
            totals.calls += 1
            totals.live += 1
            totals.last_at = noted.began_at
        self._changed.set()
        return noted

    def end(self, call: Call) -> None:
        """Note that a call has ended; `call` does."""
        del self._live[call.number]
        self._recent.append(call)
        is_error = call.outcome in ("error", "denied", "limited", "failed")
        if is_error:
            self._errors.append(call)
        for totals in self._totals_of(call):
            totals.live = max(0, totals.live - 1)
            totals.errors += is_error
        if call.ms is not None:
            self._servers.get(call.server).add(call.began_at, call.ms, is_error)
            if call.method == "tools/call":
                self._tools.get(call.server, call.name).add(call.began_at, call.ms, is_error)
        for told in self.on_ended:
            told(call)
        self._changed.set()

    def _totals_of(self, call: Call) -> Generator[Totals]:
        yield self._servers.get(call.server).totals
        if call.method == "tools/call":
            yield self._tools.get(call.server, call.name).totals
        if call.user is not None:
            yield self._users.get(call.user)

    def event(self, event: Event) -> None:
        """Note an event of the session manager, if it is about a session's loss or its return."""
        session = event.server_name, event.key
        if isinstance(event, SessionLost):
            self._lost[session] = event.at
            if len(self._lost) > MOST_NAMED:
                del self._lost[next(iter(self._lost))]
        elif isinstance(event, SessionOpened | SessionRecovered) and (lost_at := self._lost.pop(session, None)):
            # One that was lost while nobody used it is opened as a new one by the next request.
            self.incident("recovered", *session, f"Reopened {event.at - lost_at:.1f} s after it was lost.")
        if (told := _incident(event)) is not None:
            kind, text = told
            self.incident(kind, *session, text)

    def incident(self, kind: str, server: str, session: str | None, text: str) -> None:
        """Note what happened to a session; for the arguments see `SessionIncident`."""
        incident = SessionIncident(time.time(), server, session, kind, one_line(mask(text), _TEXT_CHARS))
        self._incidents.append(incident)
        for told in self.on_incident:
            told(incident)
        self._changed.set()

    def limit_reached(self, bound: str) -> None:
        """Note that something was refused for a bound, by its name."""
        self._limits[bound] += 1
        for told in self.on_limit:
            told(bound)
        self._changed.set()

    def live_by_server(self) -> dict[str, int]:
        """Running calls."""
        return dict(Counter(call.server for call in self._live.values()))

    def snapshot(self) -> ActivitySnapshot:
        """Its current state."""
        return ActivitySnapshot(
            at=time.time(),
            live=[replace(call) for call in reversed(self._live.values())],
            recent=list(reversed(self._recent)),
            errors=list(reversed(self._errors)),
            servers={key[0]: server.figures() for key, server in self._servers.items()},
            tools=[
                ToolFigures(key[0], key[1], tool.figures()) for key, tool in sorted(self._tools.items(), key=_by_key)
            ],
            users={key[0]: totals.figures() for key, totals in self._users.items()},
            incidents=list(reversed(self._incidents)),
            limits=dict(self._limits),
        )

    def totals(self) -> tuple[int, int, int]:
        """Calls, those of them with errors, and calls under way."""
        servers = [server.totals for _, server in self._servers.items()]
        return sum(one.calls for one in servers), sum(one.errors for one in servers), len(self._live)

    def hour(self, server: str, tool: str) -> list[Minute]:
        """A tool's calls in the last hour by minute, the oldest first, without minutes in which there was none."""
        found = self._tools.peek(server, tool)
        return [
            Minute(
                minute.number * 60.0,
                minute.calls,
                minute.errors,
                percentile(minute.durations, 0.5),
                percentile(minute.durations, 0.95),
            )
            for minute in (() if found is None else found.hour())
        ]

    async def watch(self, interval: float = 0.5) -> AsyncGenerator[ActivitySnapshot]:
        """Snapshots: one now, and one after each change; several changes are told at once.

        Args:
            interval: Seconds between two snapshots at least.
        """
        while True:
            if self._changed.is_set():
                self._changed = anyio.Event()
            changed = self._changed
            yield self.snapshot()
            await anyio.sleep(interval)
            await changed.wait()


class _Noting(AbstractContextManager[Call]):
    """Notes a call. Not a generator: this is part of every call."""

    __slots__: tuple[str, ...] = ("_activity", "_began", "_call", "_noted")

    def __init__(self, activity: Activity, call: RelayedCall) -> None:
        self._activity = activity
        self._call = call

    def __enter__(self) -> Call:
        self._noted = self._activity.begin(self._call)
        self._began = time.perf_counter()
        return self._noted

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        noted = self._noted
        if exc is not None:
            noted.outcome, noted.error = _failure(exc)
        noted.ms = (time.perf_counter() - self._began) * 1000
        noted.outcome = noted.outcome or "ok"
        self._activity.end(noted)


def _failure(error: BaseException) -> tuple[str, str | None]:
    match error:
        case CallDeniedError():
            return "denied", _text(error)
        case JackfieldError() | MCPError():
            return "failed", _text(error)
        case Exception():
            return "failed", type(error).__name__
        case _:
            return "cancelled", None


def _text(error: JackfieldError | MCPError) -> str:
    if isinstance(error, RequestError):
        code, words = error.rpc_code, error.rpc_message or error.message
    elif isinstance(error, JackfieldError):
        code, words = error.code, error.message
    else:
        code, words = error.code, error.error.message
    return one_line(mask(f"{code}: {words}"), _TEXT_CHARS)


def _incident(event: Event) -> tuple[str, str] | None:
    match event:
        case SessionFailed():
            return "not_opened", event.error.message
        case SessionLost():
            return "lost", event.error.message
        case RecoveryFailed():
            return "not_recovered", event.error.message
        case SessionEvicted():
            return "evicted", f"Closed to make room for a session with {event.for_server}."
        case LimitReached():
            return "limit_reached", event.error.message
        case _:
            return None


def _by_key(item: tuple[tuple[str, ...], object]) -> tuple[str, ...]:
    return item[0]
