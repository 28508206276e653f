"""A relayed request passes as it is, and has the rules of every other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    JSONRPCRequest,
)
from opentelemetry import trace
from tests.conftest import Listening, Scripted, everything
from tests.reliability.scenario import rig, settled

from jackfield import (
    CallFinished,
    CallStarted,
    HttpConfig,
    MCPClientSessionManager,
    RequestError,
    Session,
    SessionConfig,
    SessionTerminatedError,
    SessionTimeoutError,
    StateLostError,
    StdioConfig,
)
from jackfield.session.relay import Relayed, relay
from jackfield.session.session import caller_of

LINES = ["stdio handshake", "stdio modern", "http handshake", "http modern"]
ODD_RESULTS: dict[str, dict[str, Any]] = {
    "tools/call": {
        "content": [{"type": "hologram", "x": None}, "bare"],
        "isError": "no",
        "own": {"a": None},
        "ttlMs": -5,
    },
    "tools/list": {"tools": [{"name": 7}], "nextCursor": 3, "_meta": {"own": [1]}},
    "resources/read": {"contents": {"uri": "x"}, "_meta": None},
    "prompts/get": {"messages": [{"role": "system"}]},
    "completion/complete": {"completion": ["a"]},
    "own/method": {"anything": [1.0, 1, None]},
}


ODD_PARAMS: dict[str, Any] = {
    "name": "work",
    "arguments": {"deep": [{"nothing": None}], "number": 1.5},
    "own": None,
    "_meta": {"own/key": {"a": None}, "progressToken": "of another connection"},
}


async def relayed(session: Session, method: str, params: Mapping[str, Any] | None = None, **more: Any) -> Relayed:
    return await relay(caller_of(session), method, params, **more)


def with_envelope(result: dict[str, Any], line: str) -> dict[str, Any]:
    """As the scripted server sends it."""
    return {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **result} if "modern" in line else result


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_any_result_comes_out_as_it_came(scripted: Scripted, line: str) -> None:
    async with MCPClientSessionManager().open_session(scripted(ODD_RESULTS, line=line)) as session:
        for method, result in ODD_RESULTS.items():
            answer = await relayed(session, method, {"name": "work", "uri": "x"})
            assert json.dumps(answer.result) == json.dumps(with_envelope(result, line))
        # Others on the same session are as before.
        assert (await session.list_tools()).tools == []


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_parameters_arrive_as_they_were_given(scripted: Scripted, line: str) -> None:
    async with MCPClientSessionManager().open_session(scripted({"tools/call": "params"}, line=line)) as session:
        given = json.loads(json.dumps(ODD_PARAMS))
        arrived = (await relayed(session, "tools/call", given)).result["params"]
        assert given == ODD_PARAMS
    envelope = {PROTOCOL_VERSION_META_KEY, CLIENT_INFO_META_KEY, CLIENT_CAPABILITIES_META_KEY}
    assert {key for key in arrived["_meta"] if key in envelope} == (envelope if "modern" in line else set())
    arrived["_meta"] = {key: value for key, value in arrived["_meta"].items() if key not in envelope}
    assert arrived == {**ODD_PARAMS, "_meta": {"own/key": {"a": None}}}


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_the_client_of_a_request_is_named_to_servers_that_ask_each_time(scripted: Scripted, line: str) -> None:
    own = {
        CLIENT_INFO_META_KEY: {"name": "host", "version": "9", "own": None},
        CLIENT_CAPABILITIES_META_KEY: {"elicitation": {"form": {}}, "own": {}},
        LOG_LEVEL_META_KEY: "warning",
    }
    meta = {**own, PROTOCOL_VERSION_META_KEY: "1999-01-01"}
    async with MCPClientSessionManager().open_session(scripted({"tools/call": "params"}, line=line)) as session:
        arrived = (await relayed(session, "tools/call", {"name": "work", "_meta": meta})).result["params"]
    if "modern" in line:
        assert arrived["_meta"] == {**own, PROTOCOL_VERSION_META_KEY: "2026-07-28"}
    else:
        assert not arrived.get("_meta")


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_an_error_comes_out_as_it_came(scripted: Scripted, line: str) -> None:
    error = {"code": -32042, "message": " two\nlines ", "data": {"elicitations": [None, 1.0], "own": {}}}
    raw = json.dumps({"jsonrpc": "2.0", "id": "@ID", "error": error}).replace('"@ID"', "@ID")
    async with MCPClientSessionManager().open_session(scripted({"tools/call": {"raw": raw}}, line=line)) as session:
        with pytest.raises(RequestError) as caught:
            await relayed(session, "tools/call", {"name": "work"})
    failure = caught.value
    assert {"code": failure.rpc_code, "message": failure.rpc_message, "data": failure.rpc_data} == error
    assert failure.sent is True


@pytest.mark.parametrize("line", ["stdio modern", "http modern"])
async def test_a_result_that_asks_for_input_comes_out_with_its_state(scripted: Scripted, line: str) -> None:
    asks = {
        "resultType": "input_required",
        "requestState": "opaque",
        "inputRequests": {"a": {"method": "roots/list", "own": 1}},
    }
    async with MCPClientSessionManager().open_session(scripted({"tools/call": [asks, "params"]}, line=line)) as session:
        answer = (await relayed(session, "tools/call", {"name": "work"})).result
        assert answer == with_envelope(asks, line)
        retry = {"name": "work", "requestState": "opaque", "inputResponses": {"a": {"roots": [], "own": None}}}
        arrived = (await relayed(session, "tools/call", retry)).result["params"]
        assert {key: value for key, value in arrived.items() if key != "_meta"} == retry


@pytest.mark.parametrize("is_traced", [False, True])
async def test_requests_of_the_older_protocol_are_made_beneath_the_sdk_unless_it_traces_them(
    scripted: Scripted, is_traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_traced:
        monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    else:
        # Another test of this process may have set it up.
        monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    sent: list[JSONRPCRequest] = []
    async with MCPClientSessionManager().open_session(scripted({"tools/call": {"content": []}})) as session:
        connection = caller_of(session).owner.connection
        assert connection is not None
        connection.report.message_listener = lambda is_sent, message: (
            sent.append(message) if is_sent and isinstance(message, JSONRPCRequest) else None
        )
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(relayed, session, "tools/call", {"name": "work"})
        await session.call_tool("work")
    sent = [message for message in sent if message.method == "tools/call"]
    ids = [message.id for message in sent if isinstance(message.id, int)]
    assert len(set(ids)) == 6
    assert [number > 1_000_000_000 for number in ids] == [not is_traced] * 5 + [False]


@pytest.mark.parametrize("line", ["stdio modern", "http modern"])
async def test_headers_that_a_server_misses_are_made_from_its_listing(scripted: Scripted, line: str) -> None:
    error = {"code": -32020, "message": "headers"}
    raw = json.dumps({"jsonrpc": "2.0", "id": "@ID", "error": error}).replace('"@ID"', "@ID")
    results = {"tools/call": [{"raw": raw}, {"content": [], "own": 1}]}
    async with MCPClientSessionManager().open_session(scripted(results, line=line)) as session:
        asked = len(scripted.asked)
        assert (await relayed(session, "tools/call", {"name": "work"})).result["own"] == 1
    assert scripted.asked[asked:] == ["tools/call", "tools/list", "tools/call"]


@pytest.fixture(params=LINES)
def busy(request: pytest.FixtureRequest, listening: Callable[..., Listening]) -> StdioConfig | HttpConfig:
    """A server that reports progress and can be cancelled."""
    transport, era = request.param.split()
    protocol = "handshake" if era == "handshake" else "auto"
    if transport == "stdio":
        return everything(protocol=protocol)
    return listening("everything.py", "streamable-http").http(protocol=protocol)


async def test_progress_is_told_in_order_and_before_the_result(busy: StdioConfig | HttpConfig) -> None:
    told: list[Mapping[str, Any]] = []

    async def tell(params: Mapping[str, Any]) -> None:
        await anyio.sleep(0.001 if len(told) % 2 else 0)
        told.append(params)

    async with MCPClientSessionManager().open_session(busy) as session:
        call = {"name": "steps", "arguments": {"count": 50}, "_meta": {"progressToken": 1}}
        answer = await relayed(session, "tools/call", call, on_progress=tell)
        assert [params["message"] for params in told] == [f"step {number + 1}" for number in range(50)]
        assert answer.result["content"][0]["text"] == "50 steps"
        assert all("progressToken" not in params for params in told)
        # Nobody asked: nothing is reported, to no other request either.
        await relayed(session, "tools/call", call)
        assert len(told) == 50


async def test_who_does_not_take_progress_does_not_keep_the_result(
    busy: StdioConfig | HttpConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.session.relay._LATE_SECONDS", 0.05)

    async def never(_: object) -> None:
        await anyio.sleep_forever()

    async with MCPClientSessionManager().open_session(busy) as session:
        call = {"name": "steps", "arguments": {"count": 3}}
        with anyio.fail_after(20):
            answer = await relayed(session, "tools/call", call, on_progress=never)
        assert answer.result["content"][0]["text"] == "3 steps"


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_a_request_that_is_given_up_is_cancelled_at_the_server(
    busy: StdioConfig | HttpConfig, how: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    call = {"name": "slow", "arguments": {"seconds": 60, "log": str(log)}}
    async with MCPClientSessionManager().open_session(busy) as session:
        if how == "late":
            with pytest.raises(SessionTimeoutError, match="may have taken effect") as caught:
                await relayed(session, "tools/call", call, deadline=1.0)
            assert caught.value.sent is not False
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: relayed(session, "tools/call", call))
                assert await settled(Path(f"{log}.started").exists)
                tasks.cancel_scope.cancel()
        if Path(f"{log}.started").exists():  # a busy machine may not have got that far
            assert await settled(log.exists)
            assert log.read_text() == "cancelled"
        assert (await session.call_tool("echo", {"text": "on"})).text == "on"
        assert session.generation == 1


async def test_progress_starts_the_time_of_a_request_again(scripted: Scripted) -> None:
    """Also where nobody is told of it."""
    lines = [
        json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "@ID"}}),
        json.dumps({"jsonrpc": "2.0", "id": "@ID", "result": {"content": []}}),
    ]
    raw = {"raw": "\n".join(lines).replace('"@ID"', "@ID")}
    settings = SessionConfig(call_timeout=20, reset_timeout_on_progress=True)
    async with MCPClientSessionManager().open_session(scripted({"tools/call": raw}, session=settings)) as session:
        caller = caller_of(session)
        deadline = caller.deadline(20.0)
        before = deadline.at
        await relay(caller, "tools/call", {"name": "work"}, deadline=deadline)
        assert deadline.at > before


WORK = {"name": "work", "arguments": {"n": 2}}


async def test_what_was_not_executed_is_made_again_and_tells_of_lost_state(tmp_path: Path) -> None:
    with rig("http", tmp_path, "--fault", "forget", "--after", "1") as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            assert not (await relayed(session, "tools/call", {"name": "work", "arguments": {"n": 1}})).state_lost
            answer = await relayed(session, "tools/call", WORK)
            assert (answer.state_lost, answer.result["content"][0]["text"]) == (True, "work 2")
            assert not (await relayed(session, "tools/call", WORK)).state_lost
            assert server.runs(2) == 2


async def test_a_call_is_refused_after_a_loss_where_that_is_wanted(tmp_path: Path) -> None:
    with rig("http", tmp_path, "--fault", "forget", "--after", "1", on_state_lost="refuse") as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            await relayed(session, "tools/call", {"name": "work", "arguments": {"n": 1}})
            with pytest.raises(StateLostError) as caught:
                await relayed(session, "tools/call", WORK, refuses="work")
            assert caught.value.sent is False
            assert server.runs(2) == 0
            assert not (await relayed(session, "tools/call", WORK, refuses="work")).state_lost


@pytest.mark.parametrize("is_safe", [True, False])
async def test_what_may_have_been_executed_is_made_again_only_if_it_is_safe(tmp_path: Path, is_safe: bool) -> None:
    with rig("stdio", tmp_path, "--fault", "ran-and-crash") as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            if is_safe:
                answer = await relayed(session, "tools/call", WORK, is_safe=True)
                assert answer.state_lost
                assert server.runs(2) == 2
                return
            with pytest.raises(SessionTerminatedError, match="lost") as caught:
                await relayed(session, "tools/call", WORK)
            assert caught.value.sent is not False
            assert caught.value.state_lost
            assert server.runs(2) == 1
            # The error has told of it.
            assert not (await relayed(session, "tools/call", WORK)).state_lost


async def test_a_relayed_call_counts_like_any_other(scripted: Scripted) -> None:
    failed = {"content": [], "isError": True}
    config = scripted({"tools/call": [{"content": []}, failed, {"content": []}], "own/method": {}})
    manager = MCPClientSessionManager()
    events = manager.events()
    async with manager, manager.open_session(config, key="ann") as session:
        await relayed(session, "tools/call", {"name": "work"})
        await relayed(session, "tools/call", {"name": "work"})
        await relayed(session, "own/method")
        assert session.info().calls == 2
        assert session.info().errors == 1
        assert (manager.stats().calls, manager.stats().errors) == (2, 1)
    kinds = [event async for event in events if isinstance(event, CallStarted | CallFinished)]
    assert [type(event) for event in kinds] == [CallStarted, CallFinished] * 2
    assert [event.error is None for event in kinds if isinstance(event, CallFinished)] == [True, False]
