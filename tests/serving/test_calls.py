"""Requests on any instance: capabilities, what the server sends on the way, what it asks, cancellation, ids."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.server.mcpserver import MCPServer
from tests.serving.authorized import until
from tests.serving.contract.conftest import ENGINES, Engine
from tests.serving.instances import Session, Talk, Two, both_of, server_of, talkative, two

# What depends on the engine itself, tests/serving/contract tries at each of them; here the tests have them in turn.
pytestmark = pytest.mark.in_turn("engine")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param](request)


@pytest.fixture
async def both(engine: Engine) -> AsyncGenerator[Two]:
    async with both_of(engine) as instances:
        yield instances


async def test_any_instance_serves_the_session(both: Two) -> None:
    session = await both.session(both.a, capabilities={"sampling": {}, "experimental": {"own": {}}})
    assert [await session.call(url, "where") for url in (both.a, both.b, both.a)] == ["a", "b", "a"]
    for url in both.urls:
        told = json.loads(await session.call(url, "capabilities"))
        assert told == ["by hand", "2025-11-25", ["experimental", "sampling"]]


async def test_application_state_is_the_sessions(both: Two) -> None:
    one, other = await both.session(both.a), await both.session(both.b)

    async def add(session: Session, url: str, number: int) -> str:
        answer = await session.request(url, "tools/call", {"name": "add_up", "arguments": {"number": number}})
        return answer["result"]["content"][0]["text"]

    assert [await add(one, both.a, 1), await add(one, both.b, 2), await add(other, both.a, 5)] == ["1", "3", "5"]


async def test_what_a_call_sends_on_the_way_comes_before_its_answer(both: Two) -> None:
    session = await both.session()
    async with session.calling(both.b, "count", token="t", times=300) as stream:
        assert await stream.begin()
        assert stream.retry == "1000"
        messages = await stream.rest()
    told = [message["params"]["progress"] for message in messages[:-1]]
    assert told == list(range(1, 301))
    assert {message["params"]["progressToken"] for message in messages[:-1]} == {"t"}
    assert messages[-1]["result"]["content"][0]["text"] == "counted to 300"


async def test_the_log_level_holds_on_every_instance(both: Two) -> None:
    session = await both.session()
    texts = [["debug", "one"], ["warning", "two"], ["error", "three"]]

    async def heard(url: str) -> list[str]:
        async with session.calling(url, "log", texts=texts) as stream:
            return [message["params"]["data"] for message in await stream.rest() if "params" in message]

    assert await heard(both.a) == ["one", "two", "three"]
    assert "result" in await session.request(both.a, "logging/setLevel", {"level": "warning"})
    assert await heard(both.b) == ["two", "three"]
    assert "result" in await session.request(both.b, "logging/setLevel", {"level": "debug"})
    assert await heard(both.a) == ["one", "two", "three"]
    assert "error" in await session.request(both.b, "logging/setLevel", {"level": "loud"})


ASKED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sampling/createMessage": (
        {"messages": [{"role": "user", "content": {"type": "text", "text": "?"}}], "maxTokens": 5},
        {"role": "assistant", "content": {"type": "text", "text": "!"}, "model": "m"},
    ),
    "elicitation/create": (
        {"mode": "form", "message": "Which?", "requestedSchema": {"type": "object", "properties": {}}},
        {"action": "accept", "content": {"city": "Bern"}},
    ),
    "roots/list": ({}, {"roots": [{"uri": "file:///tmp"}]}),
    "ping": ({}, {}),
}


@pytest.mark.parametrize("method", ASKED)
@pytest.mark.parametrize("alone", [False, True], ids=["on its stream", "on the standalone stream"])
async def test_what_a_server_asks_is_answered_to_the_other_instance(both: Two, method: str, alone: bool) -> None:
    session = await both.session()
    params, result = ASKED[method]
    async with session.reading(both.b) as standalone:
        await standalone.begin()
        async with session.calling(both.a, "ask", method=method, params=params, alone=alone) as stream:
            asked = await (standalone if alone else stream).next()
            assert asked is not None
            assert asked["method"] == method
            assert await session.answer(both.b, asked, result) == 202
            answer = await stream.answer()
    assert json.loads(answer["result"]["content"][0]["text"]) == result


async def test_an_error_of_the_client_reaches_the_handler(both: Two) -> None:
    session = await both.session()
    async with session.calling(both.a, "ask", method="ping", params={}) as stream:
        asked = await stream.next()
        assert asked is not None
        error = {"code": -1, "message": "No, thank you."}
        assert (await session.post(both.b, {"id": asked["id"], "error": error})).status_code == 202
        answer = await stream.answer()
    assert "No, thank you." in json.dumps(answer)


async def test_progress_of_two_requests_of_the_server_at_once(both: Two) -> None:
    session = await both.session()
    params, result = ASKED["elicitation/create"]

    async def ask(url: str, name: str) -> None:
        async with session.calling(url, "ask", method="elicitation/create", params=params) as stream:
            asked = await stream.next()
            assert asked is not None
            token = asked["params"]["_meta"]["progressToken"]
            for number in (1, 2, 3):
                told = {"progressToken": token, "progress": number, "total": 3, "message": name}
                assert await session.notify(both.b, "notifications/progress", told) == 202
            await until(lambda: [one for one in both.talk.heard if one[2] == name] == [(n, 3, name) for n in (1, 2, 3)])
            await session.answer(both.b, asked, result)
            assert "result" in await stream.answer()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, both.a, "of a")
        tasks.start_soon(ask, both.b, "of b")


async def test_a_progress_callback_that_fails_costs_nothing_else(both: Two, caplog: pytest.LogCaptureFixture) -> None:
    session = await both.session()
    async with session.calling(both.a, "ask", method="ping", params={}) as stream:
        asked = await stream.next()
        assert asked is not None
        token = asked["params"]["_meta"]["progressToken"]
        await session.notify(
            both.b, "notifications/progress", {"progressToken": token, "progress": 1, "message": "fail"}
        )
        await until(lambda: "A progress callback failed" in caplog.text)
        await session.answer(both.b, asked, {})
        assert "result" in await stream.answer()
    assert await session.call(both.a, "where") == "a"


async def test_only_the_session_that_was_asked_can_answer(both: Two) -> None:
    asked_session, other = await both.session(), await both.session()
    async with asked_session.calling(both.a, "ask", method="roots/list", params={}) as stream:
        asked = await stream.next()
        assert asked is not None
        forged = {"roots": [{"uri": "file:///forged"}]}
        for url in both.urls:
            assert await other.answer(url, asked, forged) == 202
            told = {"progressToken": asked["params"]["_meta"]["progressToken"], "progress": 1, "message": "forged"}
            await other.notify(url, "notifications/progress", told)
        await asked_session.answer(both.b, asked, {"roots": [{"uri": "file:///own"}]})
        answer = await stream.answer()
    assert "file:///own" in json.dumps(answer)
    assert both.talk.heard == []


async def test_an_answer_in_time_or_an_error_and_the_client_is_told(both: Two) -> None:
    session = await both.session()
    async with session.calling(both.a, "ask", method="ping", params={}, seconds=0.2) as stream:
        asked, cancelled = await stream.next(), await stream.next()
        assert asked is not None
        assert cancelled is not None
        assert cancelled["method"] == "notifications/cancelled"
        assert cancelled["params"]["requestId"] == asked["id"]
        answer = await stream.answer()
    assert "did not answer ping within 0.2 s" in json.dumps(answer)


async def test_a_call_is_cancelled_by_the_other_instance(both: Two) -> None:
    session, other = await both.session(), await both.session()
    async with session.calling(both.a, "wait", number=7, token="t", tag="mine") as stream:
        assert await stream.next() is not None
        for number in ("7", 8, None, {"a": []}, True):
            await session.notify(both.b, "notifications/cancelled", {"requestId": number})
        await other.notify(both.b, "notifications/cancelled", {"requestId": 7})
        assert both.talk.cancelled == []
        assert await session.notify(both.b, "notifications/cancelled", {"requestId": 7, "reason": "enough"}) == 202
        answer = await stream.answer()
    assert answer["error"] == {"code": -32800, "message": "Request cancelled"}
    await until(lambda: both.talk.cancelled == ["mine@a"])


async def test_a_call_without_a_stream_yet_is_cancelled(both: Two) -> None:
    session = await both.session()
    answers: list[dict[str, Any]] = []

    async def call() -> None:
        arguments = {"tag": "silent", "progress": False}
        answers.append(await session.request(both.a, "tools/call", {"name": "wait", "arguments": arguments}, number=7))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await until(lambda: both.talk.running == 1)
        await session.notify(both.b, "notifications/cancelled", {"requestId": 7})
    assert answers[0]["error"]["code"] == -32800


async def test_an_id_in_use_is_refused_and_not_run_again(both: Two) -> None:
    session, other = await both.session(), await both.session()
    async with session.calling(both.a, "wait", number=7, token="t", tag="first") as stream:
        await stream.next()
        for url in both.urls:
            message = {"id": 7, "method": "tools/call", "params": {"name": "wait", "arguments": {"tag": "again"}}}
            response = await session.post(url, message)
            assert response.status_code == 400
            assert "A request with this id is already running in the session" in response.text
        # 7 and "7" are two ids, and so is 7 of another session.
        assert await session.call(both.b, "where", number="7") == "b"
        assert await other.call(both.b, "where", number=7) == "b"
        both.talk.opened.set()
        await stream.rest()
    assert both.talk.runs == ["first@a"]
    # Once it is answered, the id can be used again at once, on any instance.
    for _ in range(5):
        assert [await session.call(url, "where", number=7) for url in both.urls] == ["a", "b"]


async def test_a_handler_can_let_its_client_reconnect(both: Two) -> None:
    session = await both.session()
    async with session.calling(both.a, "reconnect", token="t") as stream:
        await stream.begin()
        messages = await stream.rest()
        assert all("result" not in message for message in messages)
        last_id = stream.last_id
    both.talk.opened.set()
    async with session.reading(both.b, last_id) as resumed:
        rest = await resumed.rest()
    assert rest[-1]["result"]["content"][0]["text"] == "after the close"
    assert len(messages) + len(rest) == 2


async def test_a_client_that_cannot_resume_keeps_its_connection(both: Two) -> None:
    session = await both.session(version="2025-06-18")
    both.talk.opened.set()
    async with session.calling(both.a, "reconnect", token="t") as stream:
        messages = await stream.rest()
    assert [list(message)[-1] for message in messages] == ["params", "result"]
    assert all(event_id for event_id in stream.ids)


async def test_what_a_connection_has_to_clean_up_is_cleaned_up_with_the_request(both: Two) -> None:
    session = await both.session()
    await session.request(both.a, "test/cleanUp")
    await session.request(both.b, "test/cleanUp")
    assert both.talk.closed == ["a", "b"]


async def test_failures_of_handlers_are_answers(both: Two) -> None:
    session = await both.session()
    answer = await session.request(both.a, "tools/call", {"name": "fail", "arguments": {}})
    assert answer["result"]["isError"]
    assert (await session.request(both.a, "test/raise"))["error"] == {"code": 0, "message": "An odd failure."}
    assert (await session.request(both.a, "no/such"))["error"]["code"] == -32601
    assert (await session.request(both.b, "tools/call", {"name": 5}))["error"]["code"] == -32602


async def test_a_client_that_leaves_does_not_hold_up_its_handler(both: Two) -> None:
    """Nobody reads more than 64 messages for it, and without a stream nobody ever could."""
    session = await both.session()
    with anyio.move_on_after(0.05):
        async with session.calling(both.a, "count", token="t", times=1000, pause=0.001):
            await anyio.sleep(30)
    await both.idle()
    assert await session.call(both.b, "where") == "b"


class Panic(BaseException):
    """As libraries in Rust raise it."""


@pytest.mark.parametrize("sends", [False, True], ids=["at once", "after a message"])
async def test_a_failure_that_is_no_exception_is_answered(
    both: Two, sends: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def panic(ctx: Any, params: Any) -> types.EmptyResult:
        if sends:
            await ctx.session.send_progress_notification("t", 1.0, related_request_id=ctx.request_id)
        raise Panic("It panicked.")

    both.served[0].host.instance.server.add_request_handler("test/panic", types.PaginatedRequestParams, panic)
    session = await both.session()
    with anyio.fail_after(10):
        answer = await session.request(both.a, "test/panic", {"_meta": {"progressToken": "t"}})
    assert answer["error"]["message"] == "It panicked."
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [Panic]
    assert await session.call(both.a, "where") == "a"


@pytest.mark.parametrize("sends", [False, True], ids=["at once", "after a message"])
async def test_a_task_that_a_handler_waits_for_is_cancelled(
    both: Two, sends: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """That is no end of the server."""

    async def give_up(ctx: Any, params: Any) -> types.EmptyResult:
        if sends:
            await ctx.session.send_progress_notification("t", 1.0, related_request_id=ctx.request_id)
        waited_for = asyncio.create_task(anyio.sleep_forever())
        asyncio.get_running_loop().call_soon(waited_for.cancel)
        await waited_for
        return types.EmptyResult()

    both.served[0].host.instance.server.add_request_handler("test/giveUp", types.PaginatedRequestParams, give_up)
    session = await both.session()
    with anyio.fail_after(10):
        answer = await session.request(both.a, "test/giveUp", {"_meta": {"progressToken": "t"}})
    assert "Something that the server's handler awaited was cancelled" in answer["error"]["message"]
    assert "cancelled by something that it awaited" in caplog.text
    assert await session.call(both.a, "where") == "a"


async def test_what_is_sent_after_the_level_was_set_by_its_session_has_the_new_level(engine: Engine) -> None:
    kept: list[Any] = []

    def make(talk: Talk, name: str) -> MCPServer[Any]:
        server = talkative(talk, name)

        async def set_level(ctx: Any, params: types.SetLevelRequestParams) -> types.EmptyResult:
            kept.append(ctx.session)
            return types.EmptyResult()

        server_of(server).add_request_handler("logging/setLevel", types.SetLevelRequestParams, set_level)
        return server

    async with two(engine, make=make) as both:
        session = await both.session()
        for level in ("error", "debug"):
            assert "result" in await session.request(both.a, "logging/setLevel", {"level": level})
        async with session.reading(both.a) as stream:
            await stream.begin()
            params = types.LoggingMessageNotificationParams(level="info", data="now")
            await kept[-1].send_notification(types.LoggingMessageNotification(params=params))
            message = await stream.next()
        assert message is not None
        assert message["params"]["data"] == "now"
