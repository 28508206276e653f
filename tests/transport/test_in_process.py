"""A server object of the program, served in its process."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp.server import MCPServer, Server
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ListToolsResult, TextContent, Tool
from pydantic import ValidationError

from jackfield import (
    CallFinished,
    CallHook,
    Catalog,
    ConfigError,
    Event,
    InProcessConfig,
    MCPClientSessionManager,
    MCPConfig,
    RequestError,
    ServerLimitError,
    ServerStartError,
    SessionClosed,
    SessionConfig,
    SessionOpened,
    SessionTerminatedError,
    StdioConfig,
    ToolCall,
)
from jackfield.gateway.gateway import Gateway
from jackfield.transport.in_process import low_level_server

BACKENDS = ["asyncio", "trio"]


def shop(name: str = "shop", **options: Any) -> MCPServer[Any]:
    """A server with a tool that remembers."""
    server: MCPServer[Any] = MCPServer(name, **options)
    orders: list[str] = []

    @server.tool()
    async def order(item: str) -> str:
        """Order one item."""
        orders.append(item)
        return f"{len(orders)}: {item}"

    return server


def config(server: object, **settings: Any) -> InProcessConfig:
    return InProcessConfig(server_name="shop", server=server, **settings)


class Mortal(Server[Any]):
    """A low-level server whose runs can be ended from outside, and are counted."""

    def __init__(self) -> None:
        async def list_tools(context: object, params: object) -> ListToolsResult:
            return ListToolsResult(tools=[Tool(name=name, input_schema={"type": "object"}) for name in ("run", "hang")])

        async def call_tool(context: object, params: Any) -> CallToolResult:
            self.called.set()
            if params.name == "hang":
                await anyio.sleep_forever()
            return CallToolResult(content=[TextContent(type="text", text=str(self.runs))])

        super().__init__("mortal", on_list_tools=list_tools, on_call_tool=call_tool)
        self.runs = 0
        self.called = anyio.Event()
        self.to_fail = anyio.Event()

    async def run(self, *args: Any, **options: Any) -> None:
        self.runs += 1
        self.to_fail = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._fail)
            await super().run(*args, **options)
            tasks.cancel_scope.cancel()

    async def _fail(self) -> None:
        await self.to_fail.wait()
        raise OSError("the disk is gone")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("protocol", ["auto", "handshake"])
def test_a_server_object_is_a_server_like_any_other(backend: str, protocol: str) -> None:
    seen: list[Event] = []
    hooked: list[str] = []

    class Hook(CallHook):
        async def before(self, call: ToolCall) -> None:
            hooked.append(call.tool)

    async def run() -> None:
        servers = MCPConfig(servers=[config(shop(), protocol=protocol)])
        async with MCPClientSessionManager(servers, on_event=seen.append, hooks=[Hook()]) as manager:
            async with manager.open_session("shop", key="ada") as session:
                assert (await session.call_tool("order", {"item": "tea"})).text == "1: tea"
                assert (session.info().process_id, session.info().leases) == (None, 1)
            async with manager.open_session("shop", key="ada") as session:
                assert (await session.call_tool("order", {"item": "milk"})).text == "2: milk"
            stats = manager.stats()
            assert (stats.opened, stats.calls) == (1, 2)
        assert hooked == ["order", "order"]
        assert [type(event) for event in seen if isinstance(event, SessionOpened | CallFinished | SessionClosed)] == [
            SessionOpened,
            CallFinished,
            CallFinished,
            SessionClosed,
        ]

    anyio.run(run, backend=backend)


async def test_each_session_has_its_own_run_of_the_server() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(server: object) -> AsyncGenerator[dict[str, int]]:
        number = log.count("enter")
        log.append("enter")
        try:
            yield {"number": number}
        finally:
            log.append("leave")

    server: MCPServer[dict[str, int]] = MCPServer("shop", lifespan=lifespan)

    @server.tool()
    def number(context: Context) -> int:
        return context.request_context.lifespan_context["number"]

    async with MCPClientSessionManager() as manager:
        async with (
            manager.open_session(config(server), key="1") as one,
            manager.open_session(config(server), key="2") as two,
            manager.open_session(config(server), key="1") as same,
        ):
            answers = [(await session.call_tool("number")).data for session in (one, two, same)]
            assert answers == [0, 1, 0]
            await one.refresh()
            assert ((await one.call_tool("number")).data, one.generation) == (2, 2)
    assert log.count("enter") == log.count("leave") == 3


async def test_a_run_that_fails_is_a_lost_session_and_the_next_call_opens_another() -> None:
    server = Mortal()
    async with MCPClientSessionManager().open_session(config(server)) as session:
        assert (await session.call_tool("run")).text == "1"
        server.called = anyio.Event()
        async with anyio.create_task_group() as tasks:

            async def hang() -> None:
                with pytest.raises(SessionTerminatedError, match="raised OSError: the disk is gone") as caught:
                    await session.call_tool("hang")
                assert (caught.value.sent, caught.value.state_lost) == (True, True)
                assert "Traceback" in (caught.value.server_output or "")

            tasks.start_soon(hang)
            with anyio.fail_after(5):
                await server.called.wait()
                server.to_fail.set()
        assert (await session.call_tool("run")).text == "2"
        assert session.generation == 2


async def test_a_lifespan_that_fails_says_so_at_once() -> None:
    @asynccontextmanager
    async def lifespan(server: object) -> AsyncGenerator[None]:
        raise LookupError("no database")
        yield

    with pytest.raises(ServerStartError, match="raised LookupError: no database") as caught:
        async with MCPClientSessionManager().open_session(config(shop(lifespan=lifespan))):
            pytest.fail("it is open")
    assert "Traceback" in (caught.value.server_output or "")
    assert caught.value.sent is False


async def test_a_server_that_does_not_end_is_cancelled() -> None:
    ended: list[str] = []

    @asynccontextmanager
    async def lifespan(server: object) -> AsyncGenerator[None]:
        yield
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")

    quick = SessionConfig(close_timeout=0.05)
    async with MCPClientSessionManager().open_session(config(shop(lifespan=lifespan), session=quick)) as session:
        await session.call_tool("order", {"item": "tea"})
    assert ended == ["cancelled"]


async def test_what_is_sent_is_what_a_wire_would_carry() -> None:
    server: MCPServer[Any] = MCPServer("shop")

    @server.tool(structured_output=False)
    def not_json() -> CallToolResult:
        return CallToolResult(content=[], structured_content={"when": object()})

    @server.tool(structured_output=False)
    def long() -> str:
        return "x" * 3000

    low = SessionConfig(max_message_bytes=2000)
    async with MCPClientSessionManager().open_session(config(server, session=low)) as session:
        with pytest.raises(RequestError, match="Internal server error"):
            await session.call_tool("not_json")
        with pytest.raises(ServerLimitError, match="max_message_bytes"):
            await session.call_tool("long")
        assert await session.ping() > 0


async def test_toolkit_workbench_router_and_gateway_take_it() -> None:
    manager = MCPClientSessionManager(MCPConfig(servers=[config(shop())]), catalog=None)
    async with manager:
        assert "1: tea" in (await (await manager.toolkit()).call("order", {"item": "tea"})).text
        workbench = manager.workbench()
        assert [tool["name"] for tool in await workbench.list_tools()] == ["order"]
        assert "milk" in (await workbench.call_tool("order", {"item": "milk"})).to_text()
        router = manager.router(mode="search")
        assert "order" in await router.find_tools("order one item")
        assert Gateway(manager)


def test_the_blocking_twin_takes_it() -> None:
    caller = threading.get_ident()
    server: MCPServer[Any] = MCPServer("shop")

    @server.tool()
    async def thread() -> int:
        return threading.get_ident()

    with MCPClientSessionManager().open_session_sync(config(server)) as session:
        assert session.call_tool("thread").data != caller


def test_neither_repr_nor_dump_shows_the_object() -> None:
    server = shop()
    one = config(server)
    assert "server=" not in repr(one)
    assert one.model_dump() == one.model_dump(mode="json")
    assert "server" not in one.model_dump()
    assert one.address == "MCPServer 'shop' in this process"
    assert MCPConfig(servers=[one])["shop"] == one
    assert config(server) == one
    assert config(shop()) != one


def test_the_catalog_knows_it_by_the_object(tmp_path: Any) -> None:
    server = shop()
    first, other_name = config(server), InProcessConfig(server_name="other", server=server)
    assert first.catalog_key == other_name.catalog_key
    assert config(shop()).catalog_key != first.catalog_key
    catalog = Catalog(tmp_path)

    async def run() -> None:
        servers = MCPConfig(servers=[first])
        async with MCPClientSessionManager(servers, catalog=catalog) as manager:
            assert not (await manager.refresh_catalog()).errors

    anyio.run(run)
    assert catalog.state(first) == "known"
    assert list(tmp_path.iterdir()) == []  # No other process has this server.


@pytest.mark.parametrize("wrong", ["shop.py", MCPServer, object(), None, StdioConfig(server_name="s", command="c")])
def test_what_is_not_a_server_object_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError, match="must be an MCPServer or a low-level Server"):
        config(wrong)


def test_a_file_cannot_hold_one() -> None:
    with pytest.raises(ConfigError, match="'in-process' is for server objects in code") as caught:
        MCPConfig.from_dict({"servers": {"shop": {"transport": "in-process", "server": "shop:server"}}})
    assert "InProcessConfig" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="in-process"):
        MCPConfig.from_dict(MCPConfig(servers=[config(shop())]).to_portable())


def test_serving_it_over_http_later_is_not_in_the_way() -> None:
    server = shop()
    assert low_level_server(server) is low_level_server(server)
    before = server.session_manager
    assert low_level_server(server) is server.session_manager.app
    assert server.session_manager is before
    server.streamable_http_app()
    assert server.session_manager is not before
