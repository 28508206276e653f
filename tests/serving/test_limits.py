"""Bounds on what clients can make a server hold: each over HTTP, with an answer that names it, and nothing left."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.server.mcpserver import Context, MCPServer
from tests.serving.authorized import INITIALIZE, Client, Gate, guarded, guarded_server, instances, until

from jackfield.serving import ServingLimits, state


def _refusal(response: httpx2.Response) -> tuple[int, str | None, str]:
    """Status, Retry-After and text of a refused request."""
    return response.status_code, response.headers.get("retry-after"), response.json()["error"]["message"]


async def test_sessions() -> None:
    async with guarded(2, limits=ServingLimits(sessions=2)) as made:
        here, there = made.urls
        for subject, url in (("ann", here), ("bob", there)):
            await made.client(subject).initialize(url)
        for url in made.urls:
            answer = await made.client("cat").request(url, "initialize", INITIALIZE)
            assert _refusal(answer) == (
                503,
                "1",
                "No session was opened: the server has too many (`sessions` is 2).",
            )
        store = made.instances.served[0].host.sessions
        assert await store.count() == 2


async def test_sessions_of_a_user() -> None:
    async with guarded(2, limits=ServingLimits(sessions_per_user=1)) as made:
        here, there = made.urls
        ann = made.client("ann")
        await ann.initialize(here)
        answer = await made.client("ann").request(there, "initialize", INITIALIZE)
        assert _refusal(answer) == (
            429,
            "1",
            "No session was opened: this user has too many (`sessions_per_user` is 1).",
        )
        await made.client("bob").initialize(there)
        assert (await made.http.delete(there, headers=ann.headers())).status_code == 200
        await made.client("ann").initialize(there)


async def test_open_streams() -> None:
    async with guarded(1, limits=ServingLimits(streams=1)) as made:
        [url] = made.urls
        ann, bob = made.client("ann"), made.client("bob")
        await ann.initialize(url)
        await bob.initialize(url)
        async with ann.stream(url) as stream:
            assert stream.status_code == 200
            async with bob.stream(url) as refused:
                await refused.aread()
            assert _refusal(refused) == (
                503,
                "1",
                "No stream was opened: this instance has too many open (`streams` is 1).",
            )
        host = made.instances.served[0].host
        await until(lambda: host.instance.open_streams == 0)
        async with bob.stream(url) as stream:
            assert stream.status_code == 200


async def test_running_requests_of_a_session() -> None:
    async with guarded(2, limits=ServingLimits(requests_per_session=2)) as made:
        here, there = made.urls
        ann, gate = made.client("ann"), made.instances.gate
        await ann.initialize(here)
        async with anyio.create_task_group() as tasks:
            for number, url in ((1, here), (2, there)):
                tasks.start_soon(ann.call, url, "wait", number)
            await until(lambda: gate.running == 2)
            for url in made.urls:
                answer = await ann.request(url, "tools/call", {"name": "whoami", "arguments": {}}, number=3)
                assert _refusal(answer) == (
                    429,
                    "1",
                    "The request was not started: too many are running in this session (`requests_per_session` is 2).",
                )
            # Another session has its own.
            bob = made.client("bob")
            await bob.initialize(here)
            assert json.loads(await bob.call(here, "whoami"))[1] == "bob"
            gate.opened.set()
        assert json.loads(await ann.call(here, "whoami", 3))[1] == "ann"


@pytest.mark.parametrize("stateless", [False, True])
@pytest.mark.parametrize("modern", [False, True])
async def test_bodies(stateless: bool, modern: bool) -> None:
    async with guarded(1, stateless=stateless, limits=ServingLimits(body_bytes=2_000)) as made:
        [url], ann = made.urls, made.client("ann")
        ask = ann.modern if modern else ann.request
        if not stateless:
            await ann.initialize(url)
        params = {"name": "whoami", "arguments": {"much": "x" * 2_000}}
        answer = await ask(url, "tools/call", params)
        assert _refusal(answer) == (413, None, "Nothing was run: the request is too large (`body_bytes` is 2000).")

        async def pieces() -> Any:
            for _ in range(3):
                yield b" " * 1_000

        # Without a length that is said beforehand.
        answer = await made.http.post(url, content=pieces(), headers=ann.headers())
        assert answer.status_code == 413
        # Who has no token learns nothing of it.
        assert (await Client(made.http, None).request(url, "tools/call", params)).status_code == 401


async def test_records() -> None:
    async with guarded(1, limits=ServingLimits(record_bytes=1_000)) as made:
        [url], ann = made.urls, made.client("ann")
        much = {**INITIALIZE, "capabilities": {"experimental": {"much": {"text": "x" * 1_000}}}}
        answer = await ann.request(url, "initialize", much)
        text = "No session was opened: the `initialize` request is too large (`record_bytes` is 1000)."
        assert _refusal(answer) == (413, None, text)
        assert await made.instances.served[0].host.sessions.count() == 0


async def test_listen_streams_of_a_user() -> None:
    async with guarded(1, limits=ServingLimits(listens_per_user=2)) as made, anyio.create_task_group() as tasks:
        [url], ann, bob = made.urls, made.client("ann"), made.client("bob")
        host = made.instances.served[0].host

        async def listen(client: Client, number: int) -> None:
            await client.modern(url, "subscriptions/listen", LISTEN, number=number)

        for number, client in enumerate((ann, ann, bob)):
            tasks.start_soon(listen, client, number)
        await until(lambda: host.instance.open_streams == 3)
        answer = await ann.modern(url, "subscriptions/listen", LISTEN, number=9)
        assert _refusal(answer) == (
            429,
            "1",
            "No stream was opened: this user has too many open on this instance (`listens_per_user` is 2).",
        )
        assert (await ann.modern(url, "tools/list")).status_code == 200
        tasks.cancel_scope.cancel()


LISTEN = {"notifications": {"toolsListChanged": True}}


async def test_listen_streams_count_as_streams() -> None:
    async with instances(1, limits=ServingLimits(streams=1)) as one, httpx2.AsyncClient(timeout=30) as http:
        [url], nobody = one.urls, Client(http, None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(nobody.modern, url, "subscriptions/listen", LISTEN)
            await until(lambda: one.served[0].host.instance.open_streams == 1)
            answer = await nobody.modern(url, "subscriptions/listen", LISTEN, number=2)
            refused = "No stream was opened: this instance has too many open (`streams` is 1)."
            assert _refusal(answer)[::2] == (503, refused)
            tasks.cancel_scope.cancel()
        await one.assert_idle()


async def test_a_log_keeps_no_more_than_its_bounds() -> None:
    for limits in (ServingLimits(log_events=5), ServingLimits(log_bytes=500)):
        async with guarded(1, limits=limits) as made:
            [url], ann = made.urls, made.client("ann")
            session = await ann.initialize(url)
            for number in range(20):
                message = {"level": "info", "data": f"{number} {'x' * 60}"}
                await made.instances.served[0].notify(session, "notifications/message", message)
            answer = await made.http.get(url, headers=ann.headers(accept="text/event-stream", last_event_id="get/1"))
            assert answer.status_code == 400
            assert answer.json()["error"]["message"] == (
                "Event 1 is not in the log: it never existed or is no longer kept. "
                "Begin a new stream without Last-Event-ID."
            )


def test_every_bound_is_a_number_of_at_least_one() -> None:
    for name in ServingLimits.__dataclass_fields__:
        for value in (0, -1, True, 1.5, "9"):
            with pytest.raises(ValueError, match=f"`{name}` must be a whole number of at least 1, not {value!r}"):
                ServingLimits(**{name: value})  # type: ignore[arg-type]


async def test_running_requests_of_an_instance() -> None:
    async with guarded(2, limits=ServingLimits(requests=1)) as made:
        here, there = made.urls
        ann, bob, gate = made.client("ann"), made.client("bob"), made.instances.gate
        await ann.initialize(here)
        await bob.initialize(here)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ann.call, here, "wait", 1)
            await until(lambda: gate.running == 1)
            answer = await bob.request(here, "ping")
            assert _refusal(answer) == (
                503,
                "1",
                "The request was not started: too many are running on this instance (`requests` is 1).",
            )
            assert (await bob.request(there, "ping")).status_code == 200
            gate.opened.set()
        assert (await bob.request(here, "ping")).status_code == 200


@pytest.mark.parametrize("modern", [False, True])
async def test_running_calls(modern: bool) -> None:
    async with guarded(1, limits=ServingLimits(calls=2, calls_per_user=1)) as made:
        [url] = made.urls
        ann, bob, cat, gate = made.client("ann"), made.client("bob"), made.client("cat"), made.instances.gate

        async def called(client: Client, tool: str, number: int = 1) -> httpx2.Response:
            ask = client.modern if modern else client.request
            return await ask(url, "tools/call", {"name": tool, "arguments": {}}, number=number)

        for client in (ann, bob, cat):
            await client.initialize(url)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(called, ann, "wait")
            await until(lambda: gate.running == 1)
            mine = "The call was not made: too many of this user are running on this instance (`calls_per_user` is 1)."
            assert _refusal(await called(ann, "whoami", 2)) == (429, "1", mine)
            # What is no call goes on.
            assert (await ann.request(url, "tools/list", number=3)).status_code == 200
            tasks.start_soon(called, bob, "wait")
            await until(lambda: gate.running == 2)
            refused = await called(cat, "whoami")
            assert _refusal(refused) == (
                503,
                "1",
                "The call was not made: too many are running on this instance (`calls` is 2).",
            )
            assert refused.json()["error"]["data"] == {"executed": False, "bound": "calls"}
            gate.opened.set()
        # One after the other, each begun as soon as the last is answered, may be made.
        for _ in range(20):
            assert (await called(ann, "whoami")).status_code == 200


@pytest.mark.parametrize("modern", [False, True])
async def test_calls_in_a_minute(modern: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("jackfield.serving.admission.monotonic", lambda: now)
    async with guarded(1, limits=ServingLimits(calls_per_minute=3)) as made:
        [url] = made.urls
        ann, bob = made.client("ann"), made.client("bob")

        async def called(client: Client) -> httpx2.Response:
            ask = client.modern if modern else client.request
            return await ask(url, "tools/call", {"name": "whoami", "arguments": {}})

        await ann.initialize(url)
        await bob.initialize(url)
        for _ in range(3):
            assert (await called(ann)).status_code == 200
            now += 10.0
        text = (
            "The call was not made: this user has made too many in the last minute on this instance "
            "(`calls_per_minute` is 3)."
        )
        assert _refusal(await called(ann)) == (429, "30", text)
        assert (await called(bob)).status_code == 200
        now += 30.0
        assert (await called(ann)).status_code == 200
        assert (await called(ann)).status_code == 429
        now += 100.0
        await called(bob)
        await made.client("cat").initialize(url)
        admission = made.instances.served[0].host.instance.admission
        await called(ann)
        assert (len(admission._begun), admission._running, len(admission._running_of)) == (2, 0, 0)


async def test_calls_of_all_in_a_minute() -> None:
    async with guarded(1, limits=ServingLimits(calls_per_minute=3, total_calls_per_minute=5)) as made:
        [url] = made.urls
        clients = {name: made.client(name) for name in ("ann", "bob", "cat")}
        for client in clients.values():
            await client.initialize(url)

        async def called(name: str) -> httpx2.Response:
            return await clients[name].request(url, "tools/call", {"name": "whoami", "arguments": {}})

        # What is refused since it is too much of one user does not count as one of all.
        assert [(await called("ann")).status_code for _ in range(6)] == [200, 200, 200, 429, 429, 429]
        assert [(await called("bob")).status_code for _ in range(2)] == [200, 200]
        refused = await called("cat")
        status, seconds, text = _refusal(refused)
        assert seconds
        assert (status, refused.json()["error"]["data"]["bound"]) == (503, "total_calls_per_minute")
        assert 55 <= int(seconds) <= 60
        assert "too many were made in the last minute on this instance (`total_calls_per_minute` is 5)" in text
        # What is no call is not limited.
        assert (await clients["cat"].request(url, "tools/list", {})).status_code == 200


def _keeping_server(gate: Gate) -> MCPServer[Any]:
    """It has resources to subscribe to, and keeps state."""
    server = guarded_server(gate)

    @server.resource("notes://{name}")
    async def note(name: str) -> str:
        return name

    @server.tool()
    async def keep(ctx: Context[Any, Any], chars: int) -> str:
        await state(ctx).set("much", "x" * chars)
        return "kept"

    return server


async def test_subscriptions_of_a_session() -> None:
    limits = ServingLimits(subscriptions_per_session=2)
    async with guarded(2, server=_keeping_server, limits=limits) as made:
        here, there = made.urls
        ann = made.client("ann")
        await ann.initialize(here)
        for number, url in enumerate((here, there)):
            assert "result" in (await ann.request(url, "resources/subscribe", {"uri": f"notes://{number}"})).text
        answer = await ann.request(here, "resources/subscribe", {"uri": "notes://more"})
        assert "(`subscriptions_per_session` is 2)" in answer.text
        assert "result" in (await ann.request(there, "resources/unsubscribe", {"uri": "notes://0"})).text
        assert "result" in (await ann.request(here, "resources/subscribe", {"uri": "notes://more"})).text


async def test_one_value_of_state() -> None:
    async with guarded(1, server=_keeping_server, limits=ServingLimits(state_bytes=100)) as made:
        [url], ann = made.urls, made.client("ann")
        await ann.initialize(url)
        assert await ann.call(url, "keep", chars=90) == "kept"
        said = await ann.call(url, "keep", 2, chars=100)
        assert "State 'much' was not stored: it has 102 bytes (`state_bytes` is 100)." in said


def test_no_bound_is_without_a_test() -> None:
    tested = Path(__file__).read_text()
    for name in ServingLimits.__dataclass_fields__:
        assert re.search(rf"ServingLimits\([^)]*\b{name}=", tested), name
