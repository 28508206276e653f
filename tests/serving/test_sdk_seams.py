"""What is used of the SDK without its promise: each test here fails when that moves."""

from __future__ import annotations

from typing import Any

from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ServerEvent
from tests.serving.instances import server_of

from jackfield.serving.sdk_seams import process_bus


class SharedBus:
    """A bus that reaches other processes."""

    async def publish(self, event: ServerEvent) -> None: ...

    def subscribe(self, listener: Any) -> Any: ...


def test_the_bus_of_a_server() -> None:
    bus = InMemorySubscriptionBus()
    assert process_bus(server_of(MCPServer("given", subscriptions=bus, log_level="ERROR"))) is bus
    assert isinstance(process_bus(server_of(MCPServer("default", log_level="ERROR"))), InMemorySubscriptionBus)
    low_level: Server[Any] = Server("low", on_subscriptions_listen=ListenHandler(bus))
    assert process_bus(low_level) is bus


def test_a_server_whose_bus_is_not_of_this_process_only() -> None:
    assert process_bus(server_of(MCPServer("shared", subscriptions=SharedBus(), log_level="ERROR"))) is None
    assert process_bus(server_of(MCPServer("none", subscriptions=False, log_level="ERROR"))) is None
    assert process_bus(Server("low")) is None
