"""A session offers what the SDK's client offers, on every transport and in both protocol eras."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import ClientRequestContext
from mcp.client.subscriptions import ResourceUpdated, SubscriptionLost, ToolsListChanged
from mcp.types import (
    ElicitRequestParams,
    ElicitResult,
    LoggingMessageNotificationParams,
    PromptReference,
    ResourceTemplateReference,
)
from tests.conftest import Listening, everything, everything_in_process

from jackfield import (
    MCPClientSessionManager,
    RequestError,
    ServerConfig,
    Session,
    SessionCallbacks,
    SessionTimeoutError,
    ToolError,
    UnknownToolError,
)

CASES = [
    ("stdio", "auto", "2026-07-28"),
    ("stdio", "handshake", "2025-11-25"),
    ("streamable-http", "auto", "2026-07-28"),
    ("streamable-http", "handshake", "2025-11-25"),
    ("sse", "auto", "2025-11-25"),
    ("in-process", "auto", "2026-07-28"),
    ("in-process", "handshake", "2025-11-25"),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def config(request: pytest.FixtureRequest, listening: Callable[..., Listening]) -> ServerConfig:
    """`servers/everything.py` on one transport, in one era."""
    transport, protocol, _ = request.param
    if transport == "stdio":
        return everything(protocol=protocol)
    if transport == "in-process":
        return everything_in_process(protocol=protocol)
    server = listening("everything.py", transport)
    return server.sse("everything") if transport == "sse" else server.http("everything", protocol=protocol)


@pytest.fixture
async def session(config: ServerConfig) -> AsyncIterator[Session]:
    async with MCPClientSessionManager().open_session(config) as opened:
        yield opened


async def test_all_requests(config: ServerConfig, request: pytest.FixtureRequest) -> None:
    expected = request.node.callspec.params["config"][2]
    async with MCPClientSessionManager().open_session(config) as session:
        assert session.protocol_version == expected
        assert session.server_info
        assert session.server_info.name == "everything"
        assert session.instructions == "Try it all."
        assert session.server_capabilities.tools is not None
        assert session.generation == 1
        assert session.key is None
        assert repr(session) == "<Session 'everything' open>"
        assert session.sdk_session.protocol_version == expected
        assert await session.ping() > 0

        result = await session.call_tool("add", {"a": 2, "b": 3})
        assert (result.text, result.data, result.is_error) == ("5", 5, False)
        assert "echo" in [tool.name for tool in (await session.list_tools()).tools]
        assert (await session.call_tool("fail", {"why": "no luck"})).is_error
        with pytest.raises(ToolError, match="'fail'") as failed:
            await session.call_tool("fail", {"why": "no luck"}, raise_on_error=True)
        assert failed.value.sent
        assert (await session.call_tool("add", {"a": 2, "b": 3}, raise_on_error=True)).data == 5

        assert {resource.uri for resource in (await session.list_resources()).resources} >= {"notes://today"}
        templates = (await session.list_resource_templates()).resource_templates
        assert [template.uri_template for template in templates] == ["notes://{day}/{number}"]
        contents = (await session.read_resource("notes://monday/3")).contents
        assert contents[0].text == "note 3 of monday"  # type: ignore[union-attr]
        with pytest.raises(RequestError):
            await session.read_resource("notes://no/such/resource")

        assert [prompt.name for prompt in (await session.list_prompts()).prompts] == ["summarize"]
        prompt = await session.get_prompt("summarize", {"topic": "cats"})
        assert prompt.messages[0].content.text == "Summarize cats in a short way."  # type: ignore[union-attr]
        argument = {"name": "style", "value": "sh"}
        completion = await session.complete(PromptReference(type="ref/prompt", name="summarize"), argument)
        assert completion.completion.values == ["short", "shrill"]
        template = ResourceTemplateReference(type="ref/resource", uri="notes://{day}/{number}")
        assert (await session.complete(template, argument, {"day": "monday"})).completion.values


async def test_progress_and_timeout_told_to_the_server(session: Session, tmp_path: Path) -> None:
    progress: list[tuple[float, float | None, str | None]] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        progress.append((done, total, message))

    log = tmp_path / "slow.log"
    with pytest.raises(SessionTimeoutError) as caught:
        await session.call_tool(
            "slow", {"seconds": 60, "log": str(log)}, call_timeout=1.0, progress_callback=on_progress
        )
    assert caught.value.sent is not False
    with anyio.fail_after(5):
        while not log.exists():
            await anyio.sleep(0.01)
    assert log.read_text() == "cancelled"
    assert progress == [(0.5, 1.0, "half way")]
    assert (await session.call_tool("echo", {"text": "go on"})).text == "go on"


async def test_a_cancelled_caller_is_told_to_the_server(session: Session, tmp_path: Path) -> None:
    log = tmp_path / "slow.log"
    started = anyio.Event()

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        started.set()

    async def call() -> None:
        await session.call_tool("slow", {"seconds": 60, "log": str(log)}, progress_callback=on_progress)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        with anyio.fail_after(5):
            await started.wait()
        tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        while not log.exists():
            await anyio.sleep(0.01)
    assert log.read_text() == "cancelled"


async def test_many_calls_at_once_get_their_own_answers(session: Session) -> None:
    async def call(number: int) -> None:
        assert (await session.call_tool("add", {"a": number, "b": 1})).data == number + 1

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(call, number)


async def test_a_tool_added_later_is_found(session: Session) -> None:
    with pytest.raises(UnknownToolError):
        await session.call_tool("late")
    await session.call_tool("add_tool", {"name": "late"})
    with anyio.fail_after(5):
        while True:
            try:
                assert (await session.call_tool("late")).text == "late"
                return
            except UnknownToolError:
                await anyio.sleep(0.05)


async def test_changes_are_told_to_who_listens(session: Session) -> None:
    # The SDK's high-level server has no resources/subscribe for the older era; npm's server has, and is tested too.
    modern = session.protocol_version == "2026-07-28"
    resources = ["notes://today"] if modern else []
    with anyio.fail_after(10):
        async with session.listen(tools_list_changed=True, resource_subscriptions=resources) as changes:
            if modern:
                await session.call_tool("touch", {"uri": "notes://today"})
                assert await anext(changes) == ResourceUpdated(uri="notes://today")
            await session.call_tool("add_tool", {"name": "another"})
            assert await anext(changes) == ToolsListChanged()
    if not modern:
        with pytest.raises(RequestError, match="does not support"):
            async with session.listen(resource_subscriptions=["notes://today"]):
                pytest.fail("it has no subscriptions")


async def test_elicitation_and_roots_and_logging(config: ServerConfig) -> None:
    async def elicitation(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    async def logging(params: LoggingMessageNotificationParams) -> None:
        return None

    manager = MCPClientSessionManager(callbacks=SessionCallbacks(logging=logging, roots=["file:///tmp"]))
    async with manager.open_session(config, callbacks=SessionCallbacks(elicitation=elicitation)) as session:
        if session.protocol_version == "2025-11-25":
            assert (await session.call_tool("ask_user")).text == "accept: Ada"
            await session.send_roots_list_changed()


async def test_headers_and_auth_go_with_every_request(listening: Callable[..., Listening]) -> None:
    server = listening("everything.py", "streamable-http")
    import httpx2

    class Token(httpx2.Auth):
        def auth_flow(self, request: Any) -> Any:
            request.headers["Authorization"] = "Bearer from-auth"
            yield request

    config = server.http(headers={"X-Team": "blue"}, auth=Token())
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("headers", {"name": "x-team"})).text == "blue"
        assert (await session.call_tool("headers", {"name": "authorization"})).text == "Bearer from-auth"


async def test_a_closed_http_session_is_deleted_on_the_server(listening: Callable[..., Listening]) -> None:
    import httpx2

    server = listening("everything.py", "streamable-http")
    async with MCPClientSessionManager() as manager:
        async with manager.open_session(server.http(protocol="handshake")) as session:
            await session.call_tool("echo", {"text": "x"})
            session_id = session._owner.connection.report.http_session_id  # type: ignore[union-attr]
            assert session.info().http_session_id == session_id[:8]
    async with httpx2.AsyncClient() as client:
        answer = await client.post(
            server.url,
            headers={"mcp-session-id": session_id, "accept": "application/json, text/event-stream"},
            json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        )
    assert answer.status_code == 404


async def test_a_session_over_stdio_contacts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    contacted: list[object] = []

    def look_up(host: object, *more: object, **options: object) -> list[object]:
        contacted.append(host)
        raise OSError("nobody is to be contacted")

    def connect(self: socket.socket, address: object) -> None:
        contacted.append(address)
        raise OSError("nobody is to be contacted")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket.socket, "connect", connect)
    async with MCPClientSessionManager().open_session(everything()) as session:
        await session.call_tool("echo", {"text": "x"})
    assert contacted == []


async def test_listening_ends_with_the_session(config: ServerConfig) -> None:
    manager = await MCPClientSessionManager().__aenter__()
    session = await manager.open_session(config, key="k").__aenter__()
    with anyio.fail_after(10):
        async with session.listen(tools_list_changed=True) as changes:
            await manager.__aexit__(None, None, None)
            with pytest.raises(SubscriptionLost):
                await anext(changes)
