"""What `serving` needs of the SDK that the SDK does not promise. Each has a test that fails when it moves.

All else stands on public names: `ServerRunner`, `Connection`, `StreamableHTTPSessionManager`, `RequestStateBoundary`.
"""

from __future__ import annotations

from typing import Any

from mcp.server.lowlevel.server import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler


def process_bus(server: Server[Any]) -> InMemorySubscriptionBus | None:
    """The bus on which a server publishes changes, where it reaches this process only.

    An `MCPServer` takes a bus when it is made and shows it to nobody; its `ListenHandler` has it. That a bus can be
    given later would be the public way.
    """
    entry = server.get_request_handler("subscriptions/listen")
    handler = None if entry is None else entry.handler
    bus = handler._bus if isinstance(handler, ListenHandler) else None  # pyright: ignore[reportPrivateUsage]
    return bus if isinstance(bus, InMemorySubscriptionBus) else None
