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
    """The bus on which a server publishes changes, where it reaches this process only.

    An `MCPServer` takes a bus when it is made and shows it to nobody; its `ListenHandler` has it. That a bus can be
    given later would be the public way.
    """
    entry = server.get_request_handler("subscriptions/listen")
    handler = None if entry is None else entry.handler
    bus = handler._bus if isinstance(handler, ListenHandler) else None  # pyright: ignore[reportPrivateUsage]
    return bus if isinstance(bus, InMemorySubscriptionBus) else None


class TracedIfSetUp:
    """The SDK's middleware for OpenTelemetry, left out while the program has not set up any tracing.

    Spans that nobody records are a tenth of what a call costs. A request that brings a trace context has it all the
    same, for handlers that pass it on.
    """

    def __init__(self, inner: ServerMiddleware[Any]) -> None:
        self._inner = inner

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        # By its public name, this would look into the environment each time.
        if not ctx.meta and getattr(trace, "_TRACER_PROVIDER", self) is None:
            return await call_next(ctx)
        return await self._inner(ctx, call_next)


def trace_if_set_up(server: Server[Any]) -> None:
    """Have a server's messages traced only where somebody hears of it. `server.middleware` is public; that the SDK puts
    this one there, and what it is called, is not."""
    trace.get_tracer_provider()  # sets up what the environment names
    server.middleware[:] = [
        TracedIfSetUp(one) if isinstance(one, OpenTelemetryMiddleware) else one for one in server.middleware
    ]


async def close_runner(runner: ServerRunner[Any], connection: Connection) -> None:
    """Run what handlers left in the exit stack of a connection, shielded and bounded as the SDK does it.

    Hardly any leaves something, and the SDK's shield costs each request a cancel scope and a timer. That a stack is
    empty cannot be asked by a public name; where it cannot be told at all, the SDK's way is taken.
    """
    # The runner keeps these once they were asked for, and they keep the runner: without this, all that belongs to a
    # request waits for the garbage collector.
    for kept in ("on_request", "on_notify"):
        vars(runner).pop(kept, None)
    if getattr(connection.exit_stack, "_exit_callbacks", True):
        await aclose_shielded(connection)
