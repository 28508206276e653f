"""A store that cannot be reached for a while: what runs is held, what is new is refused, what is left is tidied up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from tests.serving.authorized import until
from tests.serving.contract.conftest import Engine
from tests.serving.instances import Two, two

from jackfield.serving import (
    Backend,
    InMemorySessionStore,
    InMemoryStreamManager,
    StoreUnavailableError,
)
from jackfield.serving import exchange as exchange_module
from jackfield.serving.wire import LOST_INSTANCE, STORE_LOST, error


class Outage:
    """Which operations fail now, each before or after it took effect."""

    def __init__(self) -> None:
        self.before: set[str] = set()
        self.after: set[str] = set()
        self.failed: Counter[str] = Counter()

    async def reach(self, name: str, operation: Any) -> Any:
        self.failed[name] += name in self.before | self.after
        if name in self.before:
            raise StoreUnavailableError("The store is away.")
        outcome = await operation()
        if name in self.after:
            raise StoreUnavailableError("The store is away.")
        return outcome


class Sessions(InMemorySessionStore):
    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self.outage = outage

    async def claim(self, *args: Any) -> Any:
        return await self.outage.reach("claim", partial(super().claim, *args))

    async def release(self, *args: Any) -> Any:
        return await self.outage.reach("release", partial(super().release, *args))

    async def find(self, *args: Any) -> Any:
        return await self.outage.reach("find", partial(super().find, *args))


class Streams(InMemoryStreamManager):
    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self.outage = outage

    async def append(self, session_id: str, stream: str, messages: Sequence[str], **more: Any) -> Any:
        return await self.outage.reach("append", partial(super().append, session_id, stream, messages, **more))

    async def read(self, *args: Any, **more: Any) -> Any:
        return await self.outage.reach("read", partial(super().read, *args, **more))

    async def detach(self, *args: Any) -> Any:
        return await self.outage.reach("detach", partial(super().detach, *args))


@asynccontextmanager
async def shaky(**options: Any) -> AsyncGenerator[tuple[Two, Outage]]:
    outage = Outage()
    backend = Backend(Sessions(outage), Streams(outage))

    async def contents() -> list[object]:
        return []

    async with two(Engine(lambda: backend, contents), **options) as both:
        yield both, outage


def reconnected(both: Two) -> None:
    """Has both instances look at the store, as when it is back."""
    for one in both.served:
        running: Any = one.host._running
        running.housekeeping.reconnected()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_new_request_is_refused_and_its_id_is_free_again(when: str) -> None:
    async with shaky() as (both, outage):
        session = await both.session()
        getattr(outage, when).add("claim")
        message = {"id": 7, "method": "tools/call", "params": {"name": "wait", "arguments": {}}}
        response = await session.post(both.a, message)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert "nothing was run" in response.text
        assert both.talk.runs == []
        getattr(outage, when).clear()
        reconnected(both)
        await both.idle()
        assert await session.call(both.b, "where", number=7) == "b"


async def test_a_call_that_another_instance_answered_is_ended() -> None:
    """This one stood still. What the call waits for may have been lost meanwhile."""
    async with shaky() as (both, _):
        session = await both.session()
        async with session.calling(both.a, "ask", method="ping", params={}) as call:
            assert await call.next() is not None
            backend, here = both.served[1].host, both.served[0].host.instance
            [(session_id, running)] = await backend.sessions.running_on(here.name)
            reconnected(both)
            await anyio.wait_all_tasks_blocked()
            assert here.exchanges
            lost = error(json.loads(running.request_id), -32603, LOST_INSTANCE)
            await backend.streams.append(session_id, running.stream, [lost], is_final=True)
            await backend.sessions.release(session_id, running)
            reconnected(both)
            assert (await call.answer())["error"]["message"] == LOST_INSTANCE
        await both.idle()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_answer_of_the_client_is_held(when: str) -> None:
    """The SDK's client does not send it again."""
    async with shaky() as (both, outage):
        session = await both.session()
        async with session.calling(both.a, "ask", method="ping", params={}) as call:
            asked = await call.next()
            assert asked is not None
            getattr(outage, when).add("find")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.answer, both.b, asked, {})
                await until(lambda: outage.failed["find"] > 1)
                getattr(outage, when).clear()
            assert "result" in await call.answer()


async def test_a_running_call_is_held_and_loses_nothing() -> None:
    async with shaky() as (both, outage):
        session = await both.session()
        async with session.calling(both.a, "count", token="t", times=30, pause=0.02) as call:
            await call.next()
            outage.before |= {"append", "read"}
            await anyio.sleep(0.3)
            outage.after |= {"append"}
            outage.before.clear()
            # Now each append takes effect although it seems not to: nothing is repeated.
            await anyio.sleep(0.3)
            outage.after.clear()
            messages = await call.rest()
        assert [message["params"]["progress"] for message in messages[:-1]] == list(range(2, 31))
        assert len(set(call.ids)) == len(call.ids)


async def test_a_call_goes_on_without_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "HOLD_SECONDS", 0.2)
    async with shaky() as (both, outage):
        session = await both.session()
        async with session.calling(both.a, "count", token="t", times=30, pause=0.02) as call:
            await call.next()
            last_id = call.last_id
            outage.before.add("append")
            messages = await call.rest()
        assert [message["params"]["progress"] for message in messages[:-1]] == list(range(2, 31))
        assert "result" in messages[-1]
        outage.before.clear()
        reconnected(both)
        await both.idle()
        # Who comes back for it all the same does not wait for ever.
        async with session.reading(both.b, last_id) as resumed:
            assert (await resumed.answer())["error"]["message"] == STORE_LOST


async def test_what_could_not_be_released_is_released_later() -> None:
    async with shaky() as (both, outage):
        session = await both.session()
        outage.before |= {"release", "detach"}
        assert await session.call(both.a, "where", number=7) == "a"
        async with session.reading(both.a) as stream:
            await stream.begin()
        host = both.served[0].host
        await until(lambda: host.instance.is_idle)
        assert len(await host.sessions.running_on(host.instance.name)) == 1
        assert await host.streams.reader(session.id) is not None
        outage.before.clear()
        reconnected(both)
        await both.idle()
        assert await session.call(both.b, "where", number=7) == "b"
        async with session.reading(both.b) as stream:
            await stream.begin()


async def test_notifications_wait_for_the_store_and_requests_say_that_they_were_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with shaky() as (both, outage):
        session = await both.session()
        async with session.reading(both.b) as stream:
            await stream.begin()
            async with anyio.create_task_group() as tasks:
                outage.before.add("append")
                tasks.start_soon(lambda: session.call(both.a, "log", texts=[["info", "held"]], alone=True))
                tasks.start_soon(lambda: session.call(both.a, "changed"))
                await anyio.sleep(0.3)
                outage.before.clear()
                heard = [await stream.next(), await stream.next()]
            assert sorted(str(message and message["method"]) for message in heard) == [
                "notifications/message",
                "notifications/tools/list_changed",
            ]
