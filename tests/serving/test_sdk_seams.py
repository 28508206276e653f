"""What is used of the SDK without its promise: each test here fails when that moves."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import httpx2
import pytest
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.runner import ServerRunner
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ServerEvent
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.serving.authorized import INITIALIZE, Client, listening
from tests.serving.instances import server_of

from jackfield.serving import SessionRecord, serve_sessions
from jackfield.serving.asking import ServerRequests
from jackfield.serving.context import SessionOutbound
from jackfield.serving.sdk_seams import TracedIfSetUp, close_runner, process_bus


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


async def test_cleanups_of_handlers_run() -> None:
    closed: list[str] = []
    connection = Connection.for_loop(SessionOutbound(SessionRecord("s", {}, ""), put, ServerRequests("one")))
    runner = ServerRunner[Any](Server("closed"), connection, None)
    await close_runner(runner, connection)
    connection.exit_stack.callback(closed.append, "closed")
    await close_runner(runner, connection)
    assert closed == ["closed"]


async def put(message: str) -> None: ...


async def test_requests_leave_nothing_for_the_garbage_collector() -> None:
    served = serve_sessions(MCPServer[Any]("clean", log_level="ERROR"))
    async with served.lifespan():
        instance = served.host.instance
        gc.collect()
        gc.disable()
        try:
            runner, connection = instance.runner(SessionRecord("s", INITIALIZE, "2025-11-25"))
            assert runner.on_request
            assert runner.on_notify
            await close_runner(runner, connection)
            gone = weakref.ref(connection)
            del runner, connection
            assert gone() is None
        finally:
            gc.enable()


async def test_tracing_is_left_out_until_it_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # The SDK's tracer would keep this provider for the tests to come.
    monkeypatch.setattr("mcp.shared._otel._tracer", provider.get_tracer("tests"))
    server = MCPServer[Any]("traced", log_level="ERROR")
    served = serve_sessions(server)
    serve_sessions(server)
    assert [type(one) for one in server_of(server).middleware].count(TracedIfSetUp) == 1
    async with listening(served) as base, httpx2.AsyncClient() as http:
        client, url = Client(http, None), f"{base}/mcp"
        assert (await client.request(url, "initialize", INITIALIZE)).status_code == 200
        assert not exporter.get_finished_spans()
        with monkeypatch.context() as patched:
            patched.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
            assert (await client.request(url, "initialize", INITIALIZE)).status_code == 200
        assert [span.name for span in exporter.get_finished_spans()] == ["initialize"]
        # Whoever asks brings a trace, which handlers may pass on.
        context = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        assert (await client.request(url, "initialize", INITIALIZE | {"_meta": context})).status_code == 200
        assert [span.name for span in exporter.get_finished_spans()] == ["initialize"] * 2
