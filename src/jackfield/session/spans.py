"""Sessions and their requests as OpenTelemetry sees them: spans, and values of histograms.

What is not traced or measured never comes here: the session finds that out (`is_traced`, `is_metered`).

Source: SEP-414 (trace context in `_meta`); OpenTelemetry semantic conventions for MCP.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from ..config.servers import BaseServerConfig, RemoteConfig, StdioConfig
from ..errors import JackfieldError, RequestError
from .statistics import shortened

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram
    from opentelemetry.trace import Span, Tracer

    from ..transport.connection import Connection

_PORTS = {"http": 80, "https": 443}
_SECONDS_BOUNDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
"""Of histograms, as the conventions have them."""


@cache
def tracing() -> ModuleType:
    """OpenTelemetry's API of traces."""
    # Imported late: it costs half as much as all else that a program needs that opens nothing.
    from opentelemetry import trace

    return trace


@cache
def metering() -> ModuleType:
    """OpenTelemetry's API of metrics."""
    from opentelemetry import metrics

    return metrics


@cache
def made_histogram(name: str, description: str) -> Histogram:
    """A histogram of seconds, made once the program has set up metrics."""
    return (
        metering()
        .get_meter("jackfield")
        .create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=_SECONDS_BOUNDS)
    )


@contextmanager
def traced_span(server_name: str) -> Generator[Span]:
    """A span around the opening of a session; an exception ends it with an error status."""
    tracer: Tracer = tracing().get_tracer("jackfield")
    name, about = f"open_session {server_name}", {"mcp.server.name": server_name}
    with tracer.start_as_current_span(name, attributes=about) as current:
        try:
            yield current
        except JackfieldError as error:
            mark_failed(current, error)
            raise


def mark_failed(current: Span | None, error: JackfieldError) -> None:
    """End in an error, by its code: its text may quote the server at length."""
    if current is not None:
        current.set_attribute("error.type", error_type(error))
        current.set_status(tracing().StatusCode.ERROR, error.message)


class Observed(Protocol):
    """A session, as far as spans report its requests."""

    config: BaseServerConfig
    connection: Connection | None

    @property
    def generation(self) -> int:
        """How often it was opened."""
        ...


class Operation:
    """One request as OpenTelemetry sees it: a span, and a value of `mcp.client.operation.duration`.

    Source: OpenTelemetry semantic conventions for MCP.
    """

    def __init__(self, session: Observed, method: str, target: str | None) -> None:
        self._session = session
        self._method = method
        self._target = target
        self._generation = session.generation
        self._span: Span | None = None
        self._error_type: str | None = None
        self._status_code: str | None = None

    @contextmanager
    def observed(self, *, is_traced: bool, is_metered: bool) -> Generator[Operation]:
        """Observe it while in this context, where the program has set up tracing, metrics, or both."""
        trace, started = tracing(), time.monotonic()
        name = self._method if self._target is None else f"{self._method} {self._target}"
        try:
            if not is_traced:
                yield self
                return
            tracer: Tracer = trace.get_tracer("jackfield")
            with tracer.start_as_current_span(
                name, kind=trace.SpanKind.CLIENT, record_exception=False, set_status_on_exception=False
            ) as self._span:
                try:
                    yield self
                except JackfieldError as error:
                    self._failed(error)
                    raise
                except BaseException as error:
                    self._error_type = type(error).__qualname__
                    raise
                finally:
                    self._describe(self._span)
        except JackfieldError as error:
            self._error_type, self._status_code = error_type(error), _status_code(error)
            raise
        finally:
            if is_metered:
                made_histogram("mcp.client.operation.duration", "How long requests of clients took.").record(
                    time.monotonic() - started, self._labels()
                )

    def tool_failed(self) -> None:
        """The result is the tool's own error."""
        self._error_type = "tool_error"
        if self._span is not None:
            self._span.set_status(tracing().StatusCode.ERROR)

    def lost_state(self) -> None:
        """The state of the session that the caller knew is gone."""
        if self._span is not None:
            self._span.add_event("jackfield.state_lost", {"jackfield.generation": self._session.generation})

    def retried(self, error: JackfieldError) -> None:
        """It is made once more."""
        if self._span is not None:
            self._span.add_event("jackfield.retry", {"error.type": error_type(error)})

    def _failed(self, error: JackfieldError) -> None:
        self._error_type, self._status_code = error_type(error), _status_code(error)
        mark_failed(self._span, error)
        if error.state_lost:
            self.lost_state()

    def _describe(self, span: Span) -> None:
        session = self._session
        span.set_attribute("mcp.server.name", session.config.server_name)
        span.set_attributes(self._labels())
        connection = session.connection
        session_id = None if connection is None else shortened(connection.report.http_session_id)
        if session_id is not None:
            span.set_attribute("mcp.session.id", session_id)
        if session.generation > self._generation > 0:
            span.add_event("jackfield.session.recovered", {"jackfield.generation": session.generation})

    def _labels(self) -> dict[str, str | int]:
        """What the span and the metric have in common."""
        labels = {"mcp.method.name": self._method, **server_labels(self._session.config)}
        if (connection := self._session.connection) is not None:
            labels["mcp.protocol.version"] = connection.client.protocol_version
        if self._method == "tools/call":
            labels["gen_ai.operation.name"] = "execute_tool"
        if self._target is not None:
            labels["gen_ai.tool.name" if self._method == "tools/call" else "gen_ai.prompt.name"] = self._target
        if self._error_type is not None:
            labels["error.type"] = self._error_type
        if self._status_code is not None:
            labels["rpc.response.status_code"] = self._status_code
        return labels


class _NotObserved(Operation):
    """A request that nobody looks at."""

    def __init__(self) -> None: ...
    def tool_failed(self) -> None: ...
    def lost_state(self) -> None: ...
    def retried(self, error: JackfieldError) -> None: ...


NOT_OBSERVED: AbstractContextManager[Operation] = nullcontext(_NotObserved())
"""For what nobody looks at."""


def measure_session(config: BaseServerConfig, seconds: float, error: JackfieldError | None) -> None:
    """A session is over: a value of `mcp.client.session.duration`.

    Args:
        config: Its server.
        seconds: From the time it was open first.
        error: The failure that ended it.
    """
    labels = server_labels(config)
    if error is not None:
        labels["error.type"] = error_type(error)
    made_histogram("mcp.client.session.duration", "How long sessions of clients lasted.").record(seconds, labels)


def server_labels(config: BaseServerConfig) -> dict[str, str | int]:
    """How a server is reached."""
    labels: dict[str, str | int] = {}
    if isinstance(config, StdioConfig):
        labels["network.transport"] = "pipe"
    elif isinstance(config, RemoteConfig):
        labels |= {"network.transport": "tcp", "network.protocol.name": "http"}
        address = urlsplit(config.url)
        if address.hostname is not None:
            labels |= {"server.address": address.hostname, "server.port": address.port or _PORTS[address.scheme]}
    return labels


def error_type(error: JackfieldError) -> str:
    """The server's code where it answered with an error, ours elsewhere."""
    return _status_code(error) or error.code


def _status_code(error: JackfieldError) -> str | None:
    return str(error.rpc_code) if isinstance(error, RequestError) and error.rpc_code is not None else None
