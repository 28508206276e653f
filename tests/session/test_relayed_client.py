"""What a server asks and tells in a relayed session reaches the client as it is, and answers go back as they are."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from mcp import MCPError
from tests.conftest import Pushy, Scripted
from tests.relayed import CAPABILITIES, LINES, Chatty, Client, call, opened
from tests.reliability.scenario import settled
from tests.servers.chatty import QUESTIONS

from jackfield import (
    RequestError,
    SessionConfig,
)
from jackfield.session.relay import relay
from jackfield.session.session import caller_of


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_a_server_sees_the_capabilities_of_the_client(chatty: Chatty, line: str) -> None:
    async with opened(chatty(line), Client()) as session:
        assert await call(session, "capabilities") == CAPABILITIES


@pytest.mark.parametrize("line", ["stdio handshake", "http handshake"])
@pytest.mark.parametrize("kind", QUESTIONS)
async def test_a_question_arrives_as_it_is_and_so_does_its_answer(chatty: Chatty, line: str, kind: str) -> None:
    client = Client()
    async with opened(chatty(line), client) as session:
        assert await call(session, "ask", {"kinds": [kind]}, about="this") == [{"action": "accept", "own": None}]
    [(method, params, about)] = client.asked
    assert (method, params) == QUESTIONS[kind]
    # Over HTTP it comes on the stream of the request that it is about.
    assert about == ("this" if "http" in line else None)


@pytest.mark.parametrize("line", ["stdio handshake", "http handshake"])
async def test_a_refusal_goes_back_as_it_is_and_a_failure_as_one(chatty: Chatty, line: str) -> None:
    refusals: list[Exception] = [MCPError(-1, " own\nwords ", {"own": [None]}), RuntimeError("secret words")]

    async def refuse(_: object) -> dict[str, Any]:
        raise refusals.pop(0)

    async with opened(chatty(line), Client(refuse)) as session:
        first, second = await call(session, "ask", {"kinds": ["form", "form"]})
    assert first == {"error": {"code": -1, "message": " own\nwords ", "data": {"own": [None]}}}
    assert second["error"]["code"] == -32603
    assert "secret" not in second["error"]["message"]


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_notifications_arrive_in_order_and_before_the_result(chatty: Chatty, line: str) -> None:
    client = Client()
    async with opened(chatty(line), client) as session:
        meta = {"io.modelcontextprotocol/logLevel": "debug"}
        if "handshake" in line:
            await relay(caller_of(session), "logging/setLevel", {"level": "debug"})
        say = {"name": "say", "arguments": {"level": "info", "text": "x", "times": 50}, "_meta": meta}
        await relay(caller_of(session), "tools/call", say, about="this")
        messages = client.of_kind("notifications/message")
        assert messages == [{"level": "info", "data": {"words": f"x {number}"}, "own": None} for number in range(50)]
    assert {about for _, _, about in client.told} == {"this" if "http" in line else None}


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_progress_and_errors_keep_what_no_model_knows(chatty: Chatty, line: str) -> None:
    told: list[Any] = []

    async def tell(params: Any) -> None:
        told.append(params)

    async with opened(chatty(line), Client()) as session:
        assert await call(session, "steps", {"count": 3}, on_progress=tell) == "3 steps"
        assert told == [{"progress": number + 1, "total": 3, "own": [number]} for number in range(3)]
        with pytest.raises(RequestError) as caught:
            await call(session, "fail")
    error = caught.value
    assert (error.rpc_code, error.rpc_message, error.rpc_data) == (-32042, " own\nwords ", {"own": [None, 1.0]})


@pytest.mark.parametrize("line", ["stdio handshake", "http handshake"])
async def test_a_call_that_is_given_up_takes_its_question_with_it(chatty: Chatty, line: str) -> None:
    asked, given_up = anyio.Event(), anyio.Event()

    async def wait(_: object) -> dict[str, Any]:
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            given_up.set()
        raise AssertionError

    async with opened(chatty(line), Client(wait)) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, session, "ask", {"kinds": ["form"]})
            await asked.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(20):
            await given_up.wait()
        assert await call(session, "recall") is None


async def test_progress_of_an_answer_reaches_the_server(pushy: Pushy) -> None:
    async def answer(report: Any) -> dict[str, Any]:
        await report({"progress": 1, "own": None})
        return {}

    config = pushy("--asks", "1", "--ask-progress", session=SessionConfig(retry_attempts=0))
    async with opened(config, Client(answer)) as session:
        await session.call_tool("work")
        assert await settled(lambda: len(pushy.log("answer")) == 1)
    [told] = pushy.log("notifications/progress")
    assert json.loads(told.split(maxsplit=2)[2]) == {"progress": 1, "own": None, "progressToken": "of the server"}


async def test_more_questions_than_the_limit_are_refused(pushy: Pushy) -> None:
    gate = anyio.Event()

    async def wait(_: object) -> dict[str, Any]:
        await gate.wait()
        return {}

    client = Client(wait)
    config = pushy("--asks", "500", session=SessionConfig(max_server_requests=10, retry_attempts=0))
    async with opened(config, client) as session:
        assert (await session.call_tool("work")).text == "done"
        assert await settled(lambda: len(pushy.log("answer")) == 490)
        assert len(client.asked) == 10
        gate.set()
        assert await settled(lambda: len(pushy.log("answer")) == 500)
        assert (await session.call_tool("work")).text == "done"


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_server_of_both_protocols_is_spoken_to_in_that_of_the_client(chatty: Chatty, transport: str) -> None:
    client, config = Client(), chatty(f"{transport} modern").model_copy(update={"protocol": "auto"})
    client.protocol_version = "2025-11-25"
    for _ in range(2):
        async with opened(config, client) as session:
            assert session.protocol_version == "2025-11-25"
            await session.list_tools()
        # That says nothing of what the server speaks.
        async with opened(config, Client()) as session:
            assert session.protocol_version == "2026-07-28"


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_server_of_the_newer_protocol_alone_is_spoken_to_in_that(scripted: Scripted, transport: str) -> None:
    client = Client()
    client.protocol_version = "2025-11-25"
    async with opened(scripted({}, line=f"{transport} modern"), client) as session:
        assert session.protocol_version == "2026-07-28"
