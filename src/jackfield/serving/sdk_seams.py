"""What `serving` needs of the SDK that the SDK does not promise. Each has a test that fails when it moves.

All else stands on public names: `ServerRunner`, `Connection`, `StreamableHTTPSessionManager`, `RequestStateBoundary`.
"""

from __future__ import annotations

from typing import Any

from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from opentelemetry import trace


def process_bus(server: Server[Any]) -> InMemorySubscriptionBus | None:
    """The bus on which a server publishes changes, if it is local to this process.

    An `MCPServer` accepts a bus when it is created and does not expose it; its `ListenHandler` has it. Passing a bus
    later would be the public way.
    """
    entry = server.get_request_handler("subscriptions/listen")
    handler = None if entry is None else entry.handler
    bus = handler._bus if isinstance(handler, ListenHandler) else None  # pyright: ignore[reportPrivateUsage]
    return bus if isinstance(bus, InMemorySubscriptionBus) else None


class TracedIfSetUp:
    """The SDK's middleware for OpenTelemetry, skipped while the program has not set up tracing.

    Unrecorded spans are a tenth of the cost of a call. A request with a trace context gets it anyway,
    for handlers that pass it on.
    """

    def __init__(self, inner: ServerMiddleware[Any]) -> None:
        self._inner = inner

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        # By its public name, this would look into the environment each time.
        if not ctx.meta and getattr(trace, "_TRACER_PROVIDER", self) is None:
            return await call_next(ctx)
        return await self._inner(ctx, call_next)


def trace_if_set_up(server: Server[Any]) -> None:
    """Trace a server's messages only if tracing is set up. `server.middleware` is public; that the SDK puts
    this middleware there, and its name, are not."""
    trace.get_tracer_provider()  # sets up what the environment names
    server.middleware[:] = [
        TracedIfSetUp(one) if isinstance(one, OpenTelemetryMiddleware) else one for one in server.middleware
    ]


async def close_runner(runner: ServerRunner[Any], connection: Connection) -> None:
    """Run the exit stack of a connection, shielded and time-limited as in the SDK.

    It is rarely used, and the SDK's shield costs each request a cancel scope and a timer. Whether a stack is
    empty is not public; if it cannot be determined, the SDK's way is used.
    """
    # The runner keeps these once they were asked for, and they keep the runner: without this, all that belongs to a
    # request waits for the garbage collector.
    for kept in ("on_request", "on_notify"):
        vars(runner).pop(kept, None)
    if getattr(connection.exit_stack, "_exit_callbacks", True):
        await aclose_shielded(connection)
