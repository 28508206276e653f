"""Whose answer it is, and whether it is the server's own: known by the request, never by a number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.conftest import Scripted
from tests.reliability.scenario import Line, rig, settled

from jackfield import (
    CallHook,
    JackfieldError,
    MCPClientSessionManager,
    RequestError,
    ServerStartError,
    Session,
    SessionConfig,
    SessionTimeoutError,
    ToolCall,
    ToolError,
)

LINES = ["stdio handshake", "stdio modern", "http handshake", "http modern"]
CODES = [-32000, -32001, -32097, -32098]
WORKED = {"content": [{"type": "text", "text": "worked"}]}
READS = {"tools": [{"name": "work", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}]}
DISCOVERED = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}


def raw(**message: object) -> dict[str, str]:
    return {"raw": json.dumps({"jsonrpc": "2.0", "id": "@ID", **message}).replace('"@ID"', "@ID")}


def error(code: int, **more: object) -> dict[str, str]:
    return raw(error={"code": code, "message": f"quota {code}"}, **more)


async def refused(request: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await request
    return caught.value


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_a_server_may_answer_with_any_code(scripted: Scripted, line: str) -> None:
    """Those of lost connections and time-outs, too: nothing is made again, and the session goes on."""
    errors = [error(code) for code in CODES]
    pings = {"ping": errors} if "handshake" in line else {"server/discover": [DISCOVERED, *errors]}
    config = scripted({"tools/list": [READS, *errors], "tools/call": [*errors, WORKED], **pings}, line=line)
    async with MCPClientSessionManager().open_session(config) as session:
        await session.list_tools()
        for code in CODES:
            failures = [
                await refused(session.call_tool("work")),
                await refused(session.list_tools()),
                await refused(session.ping()),
            ]
            assert [failure.rpc_code for failure in failures] == [code] * 3
            assert all(failure.sent is True and f"quota {code}" in failure.message for failure in failures)
        assert (await session.call_tool("work")).text == "worked"
        assert session.generation == 1
    assert scripted.asked.count("tools/call") == len(CODES) + 1


@pytest.mark.parametrize("line", ["stdio handshake", "http modern"])
async def test_a_server_that_answers_checks_with_errors_is_alive(scripted: Scripted, line: str) -> None:
    pings = {"ping": error(-32000)} if "handshake" in line else {"server/discover": [DISCOVERED, error(-32000)]}
    config = scripted(pings, line=line, session=SessionConfig(liveness_interval=0.01))
    check = "ping" if "handshake" in line else "server/discover"
    async with MCPClientSessionManager().open_session(config) as session:
        assert await settled(lambda: scripted.asked.count(check) > 3)
        assert session.generation == 1


@pytest.mark.parametrize(("status", "lives"), [(405, True), (400, True), (500, False)])
async def test_a_check_that_is_refused_by_a_status_finds_a_server_that_lives(
    scripted: Scripted, status: int, lives: bool
) -> None:
    refusal = {**error(-32601, id=None), "status": status}
    config = scripted({"ping": refusal}, line="http handshake", session=SessionConfig(liveness_interval=0.01))
    async with MCPClientSessionManager().open_session(config) as session:
        assert await settled(lambda: scripted.asked.count("ping") > 2 or session.generation > 1)
        assert (session.generation == 1) is lives


@pytest.mark.parametrize("wait", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "3600"])
async def test_a_lost_session_does_not_wait_as_long_as_a_server_likes(scripted: Scripted, wait: str) -> None:
    opened = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "scripted", "version": "1"}}
    busy = {**error(-32000, id=None), "status": 429, "headers": {"retry-after": wait}}
    config = scripted({"initialize": [opened, busy, opened]}, line="http handshake")
    async with MCPClientSessionManager().open_session(config) as session:
        with anyio.fail_after(20), pytest.raises(JackfieldError, match="HTTP 429"):
            await session.refresh()
        assert (await session.call_tool("work")).text == "worked"


@pytest.mark.parametrize("line", ["stdio handshake", "http handshake"])
@pytest.mark.parametrize("code", [-32000, -32001])
async def test_a_server_that_refuses_to_be_opened_is_quoted(scripted: Scripted, line: str, code: int) -> None:
    config = scripted({"initialize": error(code)}, line=line, session=SessionConfig(retry_attempts=0))
    with pytest.raises(JackfieldError, match=f"did not complete the handshake: quota {code}"):
        async with MCPClientSessionManager().open_session(config):
            pass


@pytest.mark.parametrize("line", ["http handshake", "http modern"])
@pytest.mark.parametrize("other", [None, 0, "92a9"])
async def test_over_http_an_answer_is_that_of_the_request_it_came_with(
    scripted: Scripted, line: str, other: str | int | None
) -> None:
    result = {"resultType": "complete", **WORKED}
    config = scripted({"tools/call": [error(-32603, id=other), raw(result=result, id=other)]}, line=line)
    async with MCPClientSessionManager().open_session(config) as session:
        failure = await refused(session.call_tool("work"))
        assert (failure.rpc_code, failure.sent) == (-32603, True)
        assert (await session.call_tool("work")).text == "worked"


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(
    "answer", ['{"jsonrpc": "2.0", "id": @ID, "result": {"content"', '{"jsonrpc": "2.0", "id": @ID}']
)
async def test_an_answer_that_cannot_be_read_fails_its_call_only(scripted: Scripted, line: str, answer: str) -> None:
    config = scripted({"tools/list": READS, "tools/call": [{"raw": answer}, WORKED]}, line=line)
    async with MCPClientSessionManager().open_session(config) as session:
        with pytest.raises(ToolError, match="what the protocol does not allow") as caught:
            await session.call_tool("work")
        assert caught.value.sent is True
        assert (await session.call_tool("work")).text == "worked"
        assert session.generation == 1
    assert scripted.asked.count("tools/call") == 2


async def test_over_http_a_request_that_is_only_acknowledged_has_failed(scripted: Scripted) -> None:
    config = scripted({"tools/list": READS, "tools/call": [None, WORKED]}, line="http handshake")
    async with MCPClientSessionManager().open_session(config) as session:
        with pytest.raises(ToolError, match="HTTP 202 without a message"):
            await session.call_tool("work")
        assert (await session.call_tool("work")).text == "worked"


@pytest.mark.parametrize("line", ["stdio handshake", "http handshake", "events"])
async def test_a_batch_is_read(scripted: Scripted, line: str) -> None:
    told = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "\n"}}
    batch = json.dumps([told, {"jsonrpc": "2.0", "id": "@ID", "result": WORKED}]).replace('"@ID"', "@ID")
    answer: dict[str, Any] = {"raw": batch}
    if line == "events":
        answer = {"raw": f"id: 1\ndata: {batch}\n\n", "headers": {"content-type": "text/event-stream"}}
    config = scripted({"tools/call": answer}, line="http handshake" if line == "events" else line)
    async with MCPClientSessionManager().open_session(config) as session:
        for _ in range(2):
            assert (await session.call_tool("work", call_timeout=10)).text == "worked"


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_one_flaw_in_what_a_server_says_of_itself_does_not_cost_the_server(
    scripted: Scripted, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    capabilities = {"tools": True, "prompts": None, "logging": [], "resources": {"subscribe": {}, "listChanged": True}}
    says = {
        "protocolVersion": "2025-11-25",
        "supportedVersions": ["2026-07-28", 5],
        "capabilities": {**capabilities, "experimental": {"x": True, "y": {"z": 1}}},
        "serverInfo": {"name": "odd", "icons": [{}]},
        "instructions": ["use it"],
    }
    config = scripted({"server/discover" if "modern" in line else "initialize": says}, line=line)
    async with MCPClientSessionManager().open_session(config) as session:
        known = session.server_capabilities
        assert (known.tools is not None, known.logging, session.instructions) == (True, None, None)
        assert (known.resources and known.resources.list_changed, known.experimental) == (True, {"y": {"z": 1}})
        assert (await session.call_tool("work")).text == "worked"
    assert "does not conform to the protocol: " in caplog.text
    assert "serverInfo.version: Field required" in caplog.text or "modern" in line


async def test_what_a_server_says_of_itself_and_nobody_can_read_is_told_in_short(scripted: Scripted) -> None:
    config = scripted({"initialize": {"protocolVersion": 5, "capabilities": {}}})
    with pytest.raises(ServerStartError, match=r"in its answer protocolVersion is wrong: Input should be [^|]*\.\n"):
        await MCPClientSessionManager().open_session(config).__aenter__()


@pytest.mark.parametrize("line", ["stdio modern", "http modern"])
async def test_a_stream_of_changes_that_does_not_begin_is_an_error_of_ours(scripted: Scripted, line: str) -> None:
    silent = None if "stdio" in line else "hang"
    answers = {"subscriptions/listen": [error(-32000), silent]}
    config = scripted(answers, line=line, session=SessionConfig(call_timeout=0.5))
    async with MCPClientSessionManager().open_session(config) as session:
        with pytest.raises(RequestError, match="subscriptions/listen with error -32000"):
            await session.listen(resource_subscriptions=["notes://today"]).__aenter__()
        with pytest.raises(SessionTimeoutError, match=r"did not answer subscriptions/listen within 0\.5 s"):
            async with session.listen(resource_subscriptions=["notes://today"]):
                pytest.fail("it began")
        assert (await session.call_tool("work", call_timeout=10)).text == "worked"


async def test_what_a_server_prints_is_nobodys_answer(scripted: Scripted) -> None:
    prints = 'DEBUG {"id": @ID, "result": 1}\n{"id": @ID, "state": "busy"}\n[{"id": @ID}]\n'
    answer = json.dumps({"jsonrpc": "2.0", "id": "@ID", "result": WORKED}).replace('"@ID"', "@ID")
    config = scripted({"tools/call": {"raw": prints + answer}})
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("work")).text == "worked"


async def out_of_time(session: Session) -> str:
    """Call, and let the time run out when an answer has come that nobody claims; returns what the caller is told."""
    report, texts = session._owner.connection.report, list[str]()
    assert report is not None
    before = report.requests.last

    async def call() -> None:
        with pytest.raises(SessionTimeoutError) as caught:
            await session.call_tool("work", call_timeout=60)
        texts.append(caught.value.message)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        assert await settled(lambda: report.requests.last is not before)
        assert report.requests.last is not None
        assert await settled(lambda: report.requests.last.unclaimed)
        assert report.requests.last.scope is not None
        report.requests.last.scope.deadline = anyio.current_time()
    return texts[0]


async def test_answers_that_nobody_claims_are_told_when_time_is_out(scripted: Scripted) -> None:
    answers = [
        raw(error={"code": -32700, "message": "Parse error"}, id=None),
        raw(result=WORKED, id="92a9"),
        {"raw": '{"jsonrpc": "2.0", "result": {"content"'},
    ]
    async with MCPClientSessionManager().open_session(scripted({"tools/call": answers})) as session:
        await session.list_tools()
        texts = [await out_of_time(session) for _ in answers]
        assert session.generation == 1
    assert "Meanwhile it sent error -32700 (Parse error), without a request id." in texts[0]
    assert "Meanwhile it sent a result, for request '92a9', which was never sent." in texts[1]
    assert "Meanwhile it sent an answer that cannot be read, without a request id." in texts[2]


class Tenant(CallHook):
    """Adds a header."""

    async def before(self, call: ToolCall) -> ToolCall:
        return call.with_headers(x_tenant="acme")


@pytest.mark.parametrize("line", ["http", "sse"])
async def test_headers_of_a_call_do_not_go_with_its_cancellation(line: Line, tmp_path: Path) -> None:
    with rig(line, tmp_path) as server:
        manager = MCPClientSessionManager(hooks=[Tenant()])
        async with manager.open_session(server.config) as session:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.call_tool, "work", {"n": 1, "seconds": 0.5})
                assert await settled(lambda: server.lines("run work"))
                tasks.cancel_scope.cancel()
            assert await settled(lambda: server.lines("cancelled"))
        assert server.lines("tenant") == ["tenant acme"]
