"""The metrics of an instance: for OpenTelemetry if the program has set it up, and as text for Prometheus.

No label names a user or a session, and each has a limited set of values, never taken from clients.
"""

from __future__ import annotations

import inspect
import time
from bisect import bisect_left
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeVar, cast

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_METHOD_HEADER
from mcp_types.methods import SPEC_CLIENT_METHODS, SPEC_CLIENT_NOTIFICATION_METHODS
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import StoreUnavailableError
from .inbound import header_of, is_sessionless

RESPONSE = "response"
"""The method of a message that answers a request of the server."""

_METHODS = SPEC_CLIENT_METHODS | SPEC_CLIENT_NOTIFICATION_METHODS | {RESPONSE, "GET", "DELETE"}
_NOTE = "jackfield.note"
_METHOD_HEADER = MCP_METHOD_HEADER.encode()
_REQUEST_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_STORE_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_COUNT_SECONDS = 15.0
_GAUGES = {
    "sessions": "Sessions in the store, of all instances.",
    "streams": "Open streams of clients on this instance.",
    "running": "Requests running on this instance.",
}
_STATUS_OUTCOMES = {
    401: "unauthenticated",
    403: "forbidden",
    404: "unknown_session",
    413: "limited",
    429: "limited",
    503: "unavailable",
}

_Labels = tuple[str, ...]
_T = TypeVar("_T")
_meter = metrics.get_meter("jackfield")
_running: dict[int, ServingMetrics] = {}
"""The metrics of the instances in this process; usually one."""


@lru_cache(1024)
def _named(names: _Labels, labels: _Labels) -> Mapping[str, str]:
    """Labels with their names: few combinations, asked for several times in each request."""
    return dict(zip(names, labels, strict=True))


class Metric(Protocol):
    """What is shown to Prometheus."""

    kind: ClassVar[str]
    name: str
    about: str

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """What there is, as suffix of the name, labels and value."""
        ...


class Counter:
    """A number that only grows, for each combination of labels."""

    kind: ClassVar[str] = "counter"

    def __init__(self, name: str, about: str, labels: _Labels = ()) -> None:
        self.name: str = f"jackfield_{name}_total"
        self.about: str = about
        self._labels = labels
        self._values: dict[_Labels, int] = {} if labels else {(): 0}
        self._exported = _meter.create_counter(f"jackfield.{name}", description=about)

    def add(self, *labels: str) -> None:
        """Count one."""
        self._values[labels] = self._values.get(labels, 0) + 1
        self._exported.add(1, _named(self._labels, labels))

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """What there is, as suffix of the name, labels and value."""
        for labels, value in list(self._values.items()):
            yield "", _named(self._labels, labels), value


class Histogram:
    """How long something takes, for each combination of labels."""

    kind: ClassVar[str] = "histogram"

    def __init__(self, name: str, about: str, labels: _Labels, bounds: Sequence[float]) -> None:
        self.name: str = f"jackfield_{name}_seconds"
        self.about: str = about
        self._labels = labels
        self._bounds = bounds
        self._counts: dict[_Labels, list[int]] = {}
        self._sums: dict[_Labels, float] = {}
        self._exported = _meter.create_histogram(f"jackfield.{name}", "s", about)

    def observe(self, seconds: float, *labels: str) -> None:
        """Note one duration."""
        if (counts := self._counts.get(labels)) is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(self._bounds, seconds)] += 1
        self._sums[labels] += seconds
        self._exported.record(seconds, _named(self._labels, labels))

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """See `Counter.samples`."""
        for labels, counts in list(self._counts.items()):
            named, total = _named(self._labels, labels), 0
            for bound, count in zip((*map(_number, self._bounds), "+Inf"), counts, strict=True):
                total += count
                yield "_bucket", {**named, "le": bound}, total
            yield "_sum", named, self._sums[labels]
            yield "_count", named, total


class Gauge:
    """A number that goes up and down, read when it is asked for; `None` while it is not known."""

    kind: ClassVar[str] = "gauge"

    def __init__(self, name: str, value: Callable[[], int | None]) -> None:
        self.short_name: str = name
        self.name: str = f"jackfield_{name}"
        self.about: str = _GAUGES[name]
        self.value: Callable[[], int | None] = value

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """See `Counter.samples`."""
        if (value := self.value()) is not None:
            yield "", {}, value


class ServingMetrics:
    """The metrics of one instance."""

    def __init__(self) -> None:
        self.requests: Counter = Counter("requests", "Answered HTTP requests.", ("era", "method", "outcome"))
        self.request_seconds: Histogram = Histogram(
            "request",
            "Duration from an HTTP request to the end of its answer, except GET.",
            ("era", "method"),
            _REQUEST_BOUNDS,
        )
        self.store_seconds: Histogram = Histogram("store", "Operations of the store.", ("op",), _STORE_BOUNDS)
        self.store_errors: Counter = Counter(
            "store_errors", "Operations that failed because the store was unavailable.", ("op",)
        )
        self.orphans: Counter = Counter("orphans", "Requests of dead instances that this instance answered.")
        self.limits: Counter = Counter("limits_reached", "Requests refused because of a limit.", ("bound",))
        self.more: list[Metric] = []
        """Metrics of others that are shown with these."""
        self.on_limit: Callable[[str], None] = self.limits.add
        """Called with the name of each bound for which something is refused."""
        self._sessions: int | None = None
        self._is_observed = False
        self._gauges: list[Gauge] = [Gauge("sessions", lambda: self._sessions)]

    def watch(self, *, streams: Callable[[], int], running: Callable[[], int]) -> None:
        """Read these numbers of an instance: its open streams, and the requests that it runs."""
        self._gauges += [Gauge("streams", streams), Gauge("running", running)]

    @asynccontextmanager
    async def observed(self, count: Callable[[], Awaitable[int]] | None, *, always: bool) -> AsyncGenerator[None]:
        """Let OpenTelemetry read the gauges for a while.

        Args:
            count: Counts the sessions.
            always: Count them although OpenTelemetry did not ask.
        """
        _running[id(self)] = self
        try:
            async with anyio.create_task_group() as tasks:
                if count is not None:
                    tasks.start_soon(self._keep_counting, count, always)
                yield
                tasks.cancel_scope.cancel()
        finally:
            del _running[id(self)]

    async def _keep_counting(self, count: Callable[[], Awaitable[int]], always: bool) -> None:
        while True:
            if always or self._is_observed:
                await self.count_sessions(count)
            await anyio.sleep(_COUNT_SECONDS)

    async def count_sessions(self, count: Callable[[], Awaitable[int]]) -> None:
        """Count the sessions now."""
        try:
            self._sessions = await count()
        except StoreUnavailableError:
            self._sessions = None

    def read_gauges(self) -> Mapping[str, int]:
        """For OpenTelemetry; unknown values are omitted."""
        self._is_observed = True
        values = {gauge.short_name: gauge.value() for gauge in self._gauges}
        return {name: value for name, value in values.items() if value is not None}

    def text(self) -> str:
        """All of them in the text format of Prometheus, version 0.0.4."""
        lines: list[str] = []
        counted = (
            self.requests,
            self.request_seconds,
            self.store_seconds,
            self.store_errors,
            self.orphans,
            self.limits,
        )
        for one in (*counted, *self._gauges, *self.more):
            lines += [f"# HELP {one.name} {one.about}", f"# TYPE {one.name} {one.kind}"]
            for suffix, labels, value in one.samples():
                named = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
                lines.append(f"{one.name}{suffix}{f'{{{named}}}' if named else ''} {_number(value)}")
        return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _export_gauge(name: str, about: str) -> None:
    def observe(options: CallbackOptions) -> Iterable[Observation]:
        # In a thread of the exporter.
        values = [value for one in list(_running.values()) if (value := one.read_gauges().get(name)) is not None]
        return [Observation(sum(values))] if values else []

    _meter.create_observable_gauge(f"jackfield.{name}", [observe], description=about)


for _name, _about in _GAUGES.items():
    _export_gauge(_name, _about)


# What becomes of requests


@dataclass
class Note:
    """Data collected about an HTTP request."""

    method: str = "other"
    outcome: str | None = None
    bound: str | None = None
    began_at: float = field(default_factory=time.perf_counter)


def note_of(scope: Scope) -> Note:
    """The data of the current request; a dummy if none was begun."""
    if (note := scope.get(_NOTE)) is None:
        note = scope[_NOTE] = Note()
    return cast("Note", note)


class Counted:
    """An ASGI application whose requests are counted.

    Args:
        app: The application.
        counted: Where.
    """

    def __init__(self, app: ASGIApp, counted: ServingMetrics) -> None:
        self._app = app
        self._metrics = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http_method: str = scope["method"]
        status, is_counted, is_post = None, False, http_method == "POST"
        note = scope[_NOTE] = Note("other" if is_post else http_method)
        era = LATEST_HANDSHAKE_VERSION
        if is_sessionless(scope):
            era = LATEST_MODERN_VERSION
            note.method = (header_of(scope, _METHOD_HEADER) or "other") if is_post else http_method

        def count() -> None:
            nonlocal is_counted
            if is_counted:
                return
            is_counted = True
            method = note.method if note.method in _METHODS else "other"
            self._metrics.requests.add(era, method, _outcome(note, status, is_post=is_post))
            if http_method != "GET":
                self._metrics.request_seconds.observe(time.perf_counter() - note.began_at, era, method)
            if note.bound is not None:
                self._metrics.on_limit(note.bound)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body", False):
                # Before the client has the end of its answer.
                count()
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            status = status or 500
            raise
        finally:
            count()


def _outcome(note: Note, status: int | None, *, is_post: bool) -> str:
    """In one word: ok, error, tool_error, cancelled, left (the connection ended before the answer), failed, or why it
    was refused."""
    if note.outcome is not None and status is not None:
        return note.outcome
    if status is None:
        return "left"
    if status >= 400:
        return _STATUS_OUTCOMES.get(status, "refused" if status < 500 else "failed")
    return "left" if status == 200 and is_post else "ok"


class _Outcomes:
    """Middleware of an SDK server: notes the method of requests, and how they end."""

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        request: object = ctx.request
        if ctx.request_id is None or not isinstance(request, Request):
            return await call_next(ctx)
        note = note_of(request.scope)
        note.method = ctx.method
        try:
            result = await call_next(ctx)
        except (MCPError, Exception):
            note.outcome = "error"
            raise
        except BaseException:
            note.outcome = "cancelled"
            raise
        is_error = isinstance(result, Mapping) and result.get("isError") is True
        note.outcome = "tool_error" if is_error else "ok"
        return result


def note_outcomes(server: Server[Any]) -> None:
    """Have the outcomes of a server's requests noted."""
    if not any(isinstance(one, _Outcomes) for one in server.middleware):
        server.middleware.insert(0, _Outcomes())


# The store


class _Timed:
    """Another object; calls of its coroutine functions are timed."""

    def __init__(self, inner: object, counted: ServingMetrics) -> None:
        self._inner = inner
        self._metrics = counted

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name.startswith("_") or not inspect.iscoroutinefunction(found):
            return found
        seconds, errors = self._metrics.store_seconds, self._metrics.store_errors

        async def timed(*given: Any, **named: Any) -> Any:
            began_at = time.perf_counter()
            try:
                return await found(*given, **named)
            except StoreUnavailableError:
                errors.add(name)
                raise
            finally:
                seconds.observe(time.perf_counter() - began_at, name)

        self.__dict__[name] = timed
        return timed


def timed(store: _T, counted: ServingMetrics) -> _T:
    """The same store or stream manager, with its operations timed."""
    return cast("_T", _Timed(store, counted))
