"""How sessions end, and what keeps them alive."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer
from mcp_types import ListRootsRequest, NotificationParams
from tests.serving.authorized import until
from tests.serving.contract.conftest import ENGINES, TTL, Engine, memory
from tests.serving.instances import Anything, Session, Talk, Two, both_of, server_of, talkative, two

from jackfield.serving import ServingLimits

# What depends on the engine itself, tests/serving/contract tries at each of them; here the tests have them in turn.
pytestmark = pytest.mark.in_turn("engine")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param](request)


@pytest.fixture
async def both(engine: Engine) -> AsyncGenerator[Two]:
    async with both_of(engine) as instances:
        yield instances


async def status_of_call(session: Session, url: str) -> int:
    return (await session.post(url, {"id": 1, "method": "ping"})).status_code


async def is_forgotten(engine: Engine, *sessions: Session) -> bool:
    """Whether the store has nothing of sessions; it has what instances tell of themselves.

    In PostgreSQL, a reader that was about to listen may leave a log without events, which expires.
    """
    kept = [str(one) for one in await engine.contents() if " bytes=0 " not in str(one)]
    return not any(session.id in one for session in sessions for one in kept)


async def test_delete_ends_all_of_a_session_on_every_instance(both: Two, engine: Engine) -> None:
    session, other = await both.session(), await both.session()
    async with (
        session.calling(both.a, "wait", token="t", tag="a") as of_a,
        session.calling(both.b, "wait", token="t", tag="b") as of_b,
        session.calling(both.a, "ask", method="ping", params={}) as asking,
        session.reading(both.b) as standalone,
        other.reading(both.a) as others,
    ):
        for stream in (of_a, of_b, asking):
            assert await stream.next() is not None
        await standalone.begin()
        await others.begin()
        async with session.reading(both.b, of_a.last_id) as resumed:
            assert await session.delete(both.b) == 200
            assert await resumed.next() is None
        for stream in (of_a, of_b, asking):
            answer = await stream.answer()
            assert "The session was closed while this request was running" in answer["error"]["message"]
        assert await standalone.next() is None
        await until(lambda: sorted(both.talk.cancelled) == ["a@a", "b@b"])
        assert await other.delete(both.a) == 200
        assert await others.next() is None
    await both.idle()
    for url in both.urls:
        assert await status_of_call(session, url) == 404
        assert (await session.get_status(url, of_a.last_id))[0] == 404
        assert await session.delete(url) == 404
        assert await session.notify(url, "notifications/initialized") == 404
        assert await session.answer(url, {"id": "0" * 16 + ":" + "0" * 32}, {}) == 404
    await until(lambda: is_forgotten(engine, session, other))


async def test_the_application_can_end_a_session(both: Two) -> None:
    session = await both.session()
    async with session.reading(both.b) as standalone:
        await standalone.begin()
        assert await both.served[0].end_session(session.id)
        assert await standalone.next() is None
    assert not await both.served[1].end_session(session.id)


async def test_the_application_can_notify_sessions(both: Two) -> None:
    one, other = await both.session(), await both.session()
    async with one.reading(both.a) as stream, other.reading(both.b) as others:
        await stream.begin()
        await others.begin()
        await both.served[1].notify(one.id, "notifications/message", {"level": "info", "data": "one"})
        assert await both.served[0].notify_all("notifications/message", {"level": "info", "data": "all"}) == 2
        heard = [await stream.next(), await stream.next(), await others.next()]
    assert [message["params"]["data"] for message in heard if message] == ["one", "all", "all"]


async def test_ids_that_there_are_not(both: Two) -> None:
    session = await both.session()
    for url in both.urls:
        for session_id in ("0" * 32, "bogus", "x" * 500, "../..", "a b", "{a}"):
            strange = Session(both.http, session_id)
            response = await strange.post(url, {"id": 1, "method": "ping"}, mcp_session_id=strange.id)
            assert response.status_code == 404, session_id
            assert "Initialize again" in response.text
        for session_id in (None, ""):
            response = await session.post(url, {"id": 1, "method": "ping"}, mcp_session_id=session_id)
            assert response.status_code == 400
            assert "Mcp-Session-Id header is missing" in response.text


async def test_a_session_that_is_not_used_expires(engine: Engine) -> None:
    async with two(engine, session_ttl=TTL) as both:
        session = await both.session()
        for _ in range(4):
            await anyio.sleep(TTL / 2)
            assert await status_of_call(session, both.a) == 200

        await anyio.sleep(TTL * 1.5)
        assert await status_of_call(session, both.b) == 404
        assert (await session.get_status(both.a))[0] == 404
        await until(lambda: is_forgotten(engine, session))


async def test_a_long_call_and_an_open_stream_keep_a_session_alive(engine: Engine) -> None:
    async with two(engine, session_ttl=TTL) as both:
        reading, calling, asked = [await both.session() for _ in range(3)]
        async with (
            reading.reading(both.a) as stream,
            calling.calling(both.b, "wait", token="t") as call,
            asked.calling(both.a, "ask", method="ping", params={}) as asking,
        ):
            await stream.begin()
            await call.next()
            question = await asking.next()
            assert question is not None
            await anyio.sleep(TTL * 3)
            await reading.call(both.b, "log", texts=[["info", "still here"]], alone=True)
            message = await stream.next()
            assert message is not None
            assert message["params"]["data"] == "still here"
            await asked.answer(both.b, question, {})
            assert "result" in await asking.answer()
            last_id = call.last_id
        both.talk.opened.set()
        async with calling.reading(both.a, last_id) as resumed:
            assert "result" in await resumed.answer()


async def test_a_session_that_the_store_lost_is_not_waited_for() -> None:
    engine = memory(None)  # type: ignore[arg-type]
    async with two(engine, session_ttl=TTL) as both:
        session = await both.session()
        async with session.reading(both.a) as stream:
            await stream.begin()
            await both.served[0].host.sessions.delete(session.id)
            assert await stream.next() is None


async def test_bounds_of_requests(engine: Engine) -> None:
    limits = ServingLimits(requests_per_session=1, requests=2)
    async with two(engine, limits=limits) as both:
        sessions = [await both.session() for _ in range(3)]
        async with (
            sessions[0].calling(both.a, "wait", token="t") as one,
            sessions[1].calling(both.a, "wait", token="t") as other,
        ):
            await one.next()
            await other.next()
            response = await sessions[0].post(both.b, {"id": 9, "method": "ping"})
            assert response.status_code == 429
            assert "`requests_per_session` is 1" in response.text
            response = await sessions[2].post(both.a, {"id": 9, "method": "ping"})
            assert response.status_code == 503
            assert "`requests` is 2" in response.text
            assert response.headers["retry-after"] == "1"
            assert await sessions[2].call(both.b, "where") == "b"
            both.talk.opened.set()
            await one.rest()
            await other.rest()
        await both.idle()
        assert await status_of_call(sessions[0], both.a) == 200


async def test_a_call_that_was_answered_does_not_count_against_the_next(engine: Engine) -> None:
    async with two(engine, limits=ServingLimits(requests_per_session=1)) as both:
        session = await both.session()
        for url in both.urls * 10:
            await session.call(both.a, "where")
            await session.call(url, "where")


async def test_handlers_of_notifications_are_bounded_and_end_with_the_session(engine: Engine) -> None:
    told: list[str] = []

    def make(talk: Talk, name: str) -> MCPServer[Any]:
        server = talkative(talk, name)

        async def on_roots(ctx: Any, params: Any) -> None:
            told.append("began")
            try:
                await ctx.session.send_request(ListRootsRequest(), Anything)
            finally:
                told.append("ended")

        server_of(server).add_notification_handler("notifications/roots/list_changed", NotificationParams, on_roots)
        return server

    async with two(engine, make=make, limits=ServingLimits(requests_per_session=1)) as both:
        session = await both.session()
        changed = "notifications/roots/list_changed"
        assert await session.notify(both.a, changed) == 202
        await until(lambda: told == ["began"])
        response = await session.post(both.a, {"method": changed})
        assert response.status_code == 429
        assert "The notification was not accepted" in response.text
        assert await session.call(both.a, "where") == "a"
        assert await session.delete(both.b) == 200
        await until(lambda: told == ["began", "ended"])


async def test_a_session_too_many(engine: Engine) -> None:
    async with two(engine, limits=ServingLimits(sessions=1, record_bytes=500)) as both:
        session = await both.session()
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
        opening = {"id": 1, "method": "initialize", "params": params}
        response = await session.post(both.b, opening, mcp_session_id=None)
        assert response.status_code == 503
        assert "`sessions` is 1" in response.text
        params["clientInfo"] = {"name": "a" * 500, "version": "1"}
        response = await session.post(both.b, opening, mcp_session_id=None)
        assert response.status_code == 413
        assert "`record_bytes` is 500" in response.text
