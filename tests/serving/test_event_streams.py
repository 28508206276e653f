"""What clients read by GET: one reader, take-over, resumption on any instance, changes, and what cannot be resumed."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serving.authorized import MODERN_META, modern_headers, until
from tests.serving.contract.conftest import ENGINES, Engine, memory
from tests.serving.instances import Session, Two, both_of, two

from jackfield.serving import ServingLimits

CHANGED = "notifications/tools/list_changed"


# What depends on the engine itself, tests/serving/contract tries at each of them; here the tests have them in turn.
pytestmark = pytest.mark.in_turn("engine")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param](request)


@pytest.fixture
async def both(engine: Engine) -> AsyncGenerator[Two]:
    async with both_of(engine) as instances:
        yield instances


async def log(session: Session, url: str, *texts: str) -> None:
    """Has messages sent on the standalone stream."""
    answer = await session.call(url, "log", texts=[["info", text] for text in texts], alone=True)
    assert answer == "logged"


def text_of(message: dict[str, Any] | None) -> str:
    assert message is not None
    return message["params"]["data"]


async def test_one_reader_of_the_standalone_stream(both: Two) -> None:
    session = await both.session()
    async with session.reading(both.a) as stream:
        await stream.begin()
        assert stream.retry == "1000"
        for url in both.urls:
            status, text = await session.get_status(url)
            assert status == 409
            assert "another connection reads this session's stream" in text
        await log(session, both.b, "one")
        assert text_of(await stream.next()) == "one"
    await both.idle()
    for url in both.urls:
        async with session.reading(url) as stream:
            await stream.begin()
        await both.idle()


async def test_what_is_sent_before_the_client_reads_is_not_lost(both: Two) -> None:
    session = await both.session()
    await log(session, both.a, "early")
    async with session.reading(both.b) as stream:
        assert await stream.begin() == "get/0"
        assert text_of(await stream.next()) == "early"
    await both.idle()
    # Who reads again without naming an event begins now.
    await log(session, both.a, "between")
    async with session.reading(both.a) as stream:
        assert await stream.begin() == "get/2"
        await log(session, both.b, "now")
        assert text_of(await stream.next()) == "now"


@pytest.mark.parametrize("elsewhere", [True, False], ids=["other instance", "same instance"])
async def test_a_reader_with_the_last_event_id_takes_over(
    both: Two, elsewhere: bool, own_clock: Callable[[], float]
) -> None:
    session = await both.session()
    async with session.reading(both.a) as older:
        await older.begin()
        await log(session, both.b, "one")
        assert text_of(await older.next()) == "one"
        before = own_clock()
        async with session.reading(both.b if elsewhere else both.a, older.last_id) as newer:
            assert newer.response.status_code == 200
            assert await older.next() is None
            assert own_clock() - before < 2
            await log(session, both.a, "two", "three")
            assert [text_of(await newer.next()) for _ in range(2)] == ["two", "three"]
            # The one before no longer stands in the way, nor does it take away the newer one's place when it goes.
            assert (await session.get_status(both.a))[0] == 409
    await both.idle()


async def test_a_reader_of_a_dead_instance_does_not_stand_in_the_way(both: Two) -> None:
    session = await both.session()
    assert await both.served[0].host.streams.attach(session.id, "0" * 16 + ":1") is None
    async with session.reading(both.b) as stream:
        assert stream.response.status_code == 200
        await stream.begin()


async def test_what_was_sent_meanwhile_is_read_on_the_other_instance(both: Two) -> None:
    session = await both.session()
    async with session.reading(both.a) as stream:
        last_id = await stream.begin()
    await both.idle()
    for number in range(70):
        await log(session, both.urls[number % 2], f"{number}")
    async with session.reading(both.b, last_id) as stream:
        assert [text_of(await stream.next()) for _ in range(70)] == [f"{number}" for number in range(70)]
        await log(session, both.a, "live")
        assert text_of(await stream.next()) == "live"


async def test_a_request_is_resumed_on_the_other_instance(both: Two) -> None:
    session = await both.session()
    async with session.calling(both.a, "wait", token="t") as stream:
        await stream.next()
        last_id = stream.last_id
    both.talk.opened.set()
    async with session.reading(both.b, last_id) as resumed:
        answer = await resumed.answer()
        final_id = resumed.last_id
    assert answer["result"]["content"][0]["text"] == " went on"
    await both.idle()
    for url in both.urls:
        # All is read: nothing follows, and nothing is waited for.
        async with session.reading(url, final_id) as resumed:
            assert await resumed.rest() == []


@pytest.mark.parametrize(
    "last_event_id",
    [
        "bogus",
        "get/",
        "get/x",
        "/1",
        "get/99",
        "get/-1",
        "get/1/2",
        "0" * 32 + "/1",
        "0" * 32 + "/0",
        "x" * 5000,
        "get/" + "9" * 30,
    ],
)
async def test_what_is_no_event_of_the_session_is_refused_at_once(last_event_id: str) -> None:
    async with two(memory(None)) as both:  # type: ignore[arg-type]
        session = await both.session()
        for url in both.urls:
            status, text = await session.get_status(url, last_event_id)
            assert status == 400
            assert "Begin a new stream without Last-Event-ID" in text


async def test_the_stream_of_another_session_is_refused(both: Two) -> None:
    session, other = await both.session(), await both.session()
    async with session.calling(both.a, "wait", token="t") as stream:
        await stream.next()
        for url in both.urls:
            assert (await other.get_status(url, stream.last_id))[0] == 400
        both.talk.opened.set()
        await stream.rest()


async def test_events_that_are_no_longer_kept(engine: Engine) -> None:
    async with two(engine, limits=ServingLimits(log_events=5)) as both:
        session = await both.session()
        async with session.reading(both.a) as stream:
            last_id = await stream.begin()
        await both.idle()
        for number in range(8):
            await log(session, both.a, f"{number}")
        status, text = await session.get_status(both.b, last_id)
        assert status == 400
        assert "no longer kept" in text
        async with session.reading(both.b, "get/3") as stream:
            assert text_of(await stream.next()) == "3"


async def test_too_many_streams(engine: Engine) -> None:
    async with two(engine, limits=ServingLimits(streams=1)) as both:
        sessions = [await both.session(), await both.session()]
        async with sessions[0].reading(both.a) as stream:
            await stream.begin()
            status, text = await sessions[1].get_status(both.a)
            assert status == 503
            assert "`streams` is 1" in text
            # It holds no place: the other instance takes it, and a call needs no such stream.
            async with sessions[1].reading(both.b) as other:
                await other.begin()
            assert await sessions[1].call(both.a, "count", times=2) == "counted to 2"


async def test_a_handler_can_let_the_reader_reconnect(both: Two) -> None:
    session = await both.session()
    async with session.reading(both.a) as stream:
        last_id = await stream.begin()
        assert await session.call(both.b, "close_alone") == "closed"
        assert await stream.next() is None
    async with session.reading(both.b, last_id) as stream:
        await log(session, both.a, "again")
        assert text_of(await stream.next()) == "again"


# Changes


async def test_changes_reach_the_sessions_of_every_instance_once(both: Two) -> None:
    sessions = [await both.session(url) for url in both.urls]
    async with sessions[0].reading(both.b) as one, sessions[1].reading(both.a) as other:
        await one.begin()
        await other.begin()
        for number in range(3):
            assert await sessions[0].call(both.urls[number % 2], "changed") == "published"
            for stream in (one, other):
                message = await stream.next()
                assert message is not None
                assert message["method"] == CHANGED
        for session, url in zip(sessions, both.urls, strict=True):
            await log(session, url, "after all")
        assert [text_of(await stream.next()) for stream in (one, other)] == ["after all", "after all"]


async def test_updates_reach_the_sessions_that_subscribed(both: Two) -> None:
    one, other = await both.session(), await both.session()
    for url in ("note://one", "note://two"):
        assert "result" in await one.request(both.a, "resources/subscribe", {"uri": url})
    assert "result" in await one.request(both.b, "resources/unsubscribe", {"uri": "note://two"})
    async with one.reading(both.b) as stream, other.reading(both.a) as silent:
        await stream.begin()
        await silent.begin()
        for uri in ("note://two", "note://one"):
            await other.call(both.a, "changed", uri=uri)
        message = await stream.next()
        assert message == {
            "jsonrpc": "2.0",
            "method": "notifications/resources/updated",
            "params": {"uri": "note://one"},
        }
        await log(one, both.a, "one")
        await log(other, both.b, "other")
        assert [text_of(await stream.next()), text_of(await silent.next())] == ["one", "other"]


async def test_subscriptions_are_bounded(engine: Engine) -> None:
    async with two(engine, limits=ServingLimits(subscriptions_per_session=4)) as both:
        session = await both.session()
        async with session.reading(both.a) as stream:
            await stream.begin()
        assert "result" in await session.request(both.a, "resources/subscribe", {"uri": "note://one"})
        refused = await session.request(both.b, "resources/subscribe", {"uri": "note://two"})
        assert "`subscriptions_per_session` is 4" in refused["error"]["message"]
        refused = await session.request(both.b, "resources/subscribe", {"uri": "note://" + "x" * 5000})
        assert "longer than 4096" in refused["error"]["message"]
        await both.idle()


async def test_what_is_said_of_changes_is_what_is_kept(both: Two) -> None:
    response = await Session(both.http, "").post(
        both.a,
        {
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "a", "version": "1"},
            },
        },
        mcp_session_id=None,
        mcp_protocol_version=None,
    )
    said = response.json()["result"]["capabilities"]
    assert said["tools"]["listChanged"]
    assert said["prompts"]["listChanged"]
    assert said["resources"] == {"listChanged": True, "subscribe": True}
    assert "logging" in said


async def test_clients_of_the_newest_protocol_hear_what_the_other_instance_publishes(both: Two) -> None:
    session = await both.session()
    params = {
        "notifications": {"toolsListChanged": True, "resourceSubscriptions": ["note://one"]},
        "_meta": MODERN_META,
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    named = {name.replace("_", "-"): value for name, value in modern_headers("subscriptions/listen").items()}
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json", **named}
    async with both.http.stream("POST", both.a, content=json.dumps(message), headers=headers) as response:
        assert response.status_code == 200
        heard: list[dict[str, Any]] = []

        async def listen() -> None:
            async for line in response.aiter_lines():
                if line.startswith("data:") and line[5:].strip():
                    heard.append(json.loads(line[5:]))  # noqa: PERF401

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await until(lambda: len(heard) == 1)
            await session.call(both.b, "changed")
            await session.call(both.b, "changed", uri="note://one")
            await session.call(both.a, "changed")
            await until(lambda: len(heard) == 4)
            tasks.cancel_scope.cancel()
    methods = [one["method"].rpartition("/")[2] for one in heard[1:]]
    assert sorted(methods) == ["list_changed", "list_changed", "updated"]


# Cuts


async def resumed_through_cuts(both: Two, texts: list[str], cuts: list[int], seed: int) -> list[str]:
    """Reads what is sent while its connection is cut again and again; the other instance is next, as a rule."""
    random_source = random.Random(seed)
    session = await both.session()
    heard: list[str] = []

    async def send() -> None:
        for text in texts:
            await log(session, random_source.choice(both.urls), text)

    async with anyio.create_task_group() as tasks:
        async with session.reading(both.a) as stream:
            last_id: str | None = await stream.begin()
        tasks.start_soon(send)
        for cut in [*cuts, len(texts)]:
            async with session.reading(random_source.choice(both.urls), last_id) as stream:
                assert stream.response.status_code == 200
                for _ in range(min(cut, len(texts) - len(heard))):
                    heard.append(text_of(await stream.next()))
                    last_id = stream.last_id
    return heard


async def test_many_cuts_lose_and_repeat_nothing(both: Two) -> None:
    texts = [f"{number}" for number in range(60)]
    assert await resumed_through_cuts(both, texts, [1, 0, 3, 0, 0, 7, 2, 5], 1) == texts


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.lists(st.text(max_size=8), max_size=12),
    cuts=st.lists(st.integers(0, 4), max_size=6),
    seed=st.integers(0, 1000),
)
def test_any_cuts_in_any_messages_lose_and_repeat_nothing(texts: list[str], cuts: list[int], seed: int) -> None:
    async def run() -> list[str]:
        async with two(memory(None)) as both:  # type: ignore[arg-type]
            return await resumed_through_cuts(both, texts, cuts, seed)

    assert anyio.run(run) == texts


async def test_a_request_is_resumed_again_and_again(both: Two) -> None:
    session = await both.session()
    messages: list[dict[str, Any]] = []
    async with session.calling(both.a, "count", token="t", times=40, pause=0.01) as stream:
        for _ in range(3):
            message = await stream.next()
            assert message is not None
            messages.append(message)
        last_id = stream.last_id
    while "result" not in messages[-1]:
        async with session.reading(both.urls[len(messages) % 2], last_id) as stream:
            for _ in range(4):
                if (message := await stream.next()) is None:
                    break
                messages.append(message)
                last_id = stream.last_id
    told = [message["params"]["progress"] for message in messages[:-1]]
    assert told == list(range(1, 41))


# Clients that do not read


async def test_a_handler_that_floods_waits_for_its_client(engine: Engine) -> None:
    """Its log keeps 200 events: a client that reads is never left behind."""
    async with two(engine, limits=ServingLimits(log_events=200)) as both:
        session = await both.session()
        async with session.calling(both.a, "count", token="t", times=3000, size=200) as stream:
            messages = await stream.rest()
        assert [message["params"]["progress"] for message in messages[:-1]] == list(range(1, 3001))


async def test_a_client_that_does_not_read_holds_up_its_own_request_only() -> None:
    """What waits for it is bounded, and its handler is held back."""
    async with two(memory(None)) as both:  # type: ignore[arg-type]
        session = await both.session()
        async with session.calling(both.a, "count", token="t", times=2000, size=50_000) as stream:
            await stream.next()
            [exchange] = both.served[0].host.instance.exchanges.values()
            # 100 MB in all; what the handler could send is what sockets, the reader and the log take.
            sent = -1
            while sent != (sent := await both.served[0].host.streams.tip(session.id, exchange.call.stream)):
                await anyio.sleep(0.3)
            assert sent < 400
            assert await session.call(both.b, "where") == "b"
            assert await session.call(both.a, "where") == "a"
