"""OpenTelemetry spans for opening and calling, as children of the caller's span.

The SDK makes a client span of its own for every request and tells the server its trace context; ours
is around it, and covers waiting, recovery and repetition as well.

Source: SEP-414 (trace context in `_meta`); OpenTelemetry semantic conventions for MCP.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import trace

from ..errors import JackfieldError

_tracer = trace.get_tracer("jackfield")


_NO_SPAN = nullcontext(trace.INVALID_SPAN)


def span(name: str, server_name: str) -> AbstractContextManager[trace.Span]:
    """A span around the block; an exception ends it with an error status. Does nothing without tracing."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return _NO_SPAN
    return _span(name, server_name)


@contextmanager
def _span(name: str, server_name: str) -> Generator[trace.Span]:
    with _tracer.start_as_current_span(name, attributes={"mcp.server.name": server_name}) as current:
        try:
            yield current
        except JackfieldError as error:
            mark_failed(current, error)
            raise


def mark_failed(current: trace.Span, error: JackfieldError) -> None:
    """End in an error, by its code: its text may quote the server at length."""
    current.set_attribute("error.type", error.code)
    current.set_status(trace.StatusCode.ERROR, error.message)
