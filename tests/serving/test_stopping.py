"""An instance that stops: clients go on elsewhere, requests end or are answered, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from tests.conftest import MARK, TOKEN, quick_python
from tests.forked import unmeasured
from tests.serving.authorized import INITIALIZE, MODERN_META, modern_headers, until
from tests.serving.contract.conftest import ENGINES, Engine, memory
from tests.serving.instances import Session, Talk, talkative, two

from jackfield.serving import serve_sessions
from jackfield.serving.background import Background
from jackfield.serving.wire import SHUT_DOWN

# What depends on the engine itself, tests/serving/contract tries at each of them; here the tests have them in turn.
pytestmark = pytest.mark.in_turn("engine")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param](request)


async def test_no_task_outlives_what_it_uses(caplog: pytest.LogCaptureFixture) -> None:
    events: list[str] = []
    may_end = asyncio.Event()

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            events.append("cancelled")
            with anyio.CancelScope(shield=True):
                await may_end.wait()
            events.append("ended")

    async def live() -> None:
        async with Background().run() as background:
            background.start(work)
            await asyncio.sleep(0)
            events.append("began")
        events.append("unreachable")

    life = asyncio.create_task(live())
    await until(lambda: events == ["began", "cancelled"])
    for _ in range(3):
        # As by `asyncio.run()` that is interrupted, or a time limit of the program.
        life.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not life.done()
    may_end.set()
    await asyncio.wait([life])
    assert life.cancelled()
    assert events == ["began", "cancelled", "ended"]
    assert not caplog.records


async def test_streams_go_on_elsewhere_and_calls_end(engine: Engine) -> None:
    async with two(engine) as both:
        session = await both.session()
        async with (
            session.reading(both.a) as standalone,
            session.calling(both.a, "wait", token="t") as call,
        ):
            get_id = await standalone.begin()
            await call.next()
            both.served[0].host.drain()
            assert await standalone.next() is None
            assert await call.next() is None
        status, text = await session.get_status(both.a)
        assert status == 503
        assert "is being stopped" in text
        # A client whose connection is kept alive may still come here.
        assert await session.call(both.a, "where") == "a"
        async with session.calling(both.a, "count", token="t", times=3) as late:
            assert await late.begin()
            late_messages = await late.rest()
        async with session.reading(both.b, get_id) as standalone, session.reading(both.b, call.last_id) as resumed:
            await session.call(both.b, "log", texts=[["info", "elsewhere"]], alone=True)
            message = await standalone.next()
            assert message is not None
            assert message["params"]["data"] == "elsewhere"
            both.talk.opened.set()
            assert "result" in await resumed.answer()
        if not late_messages or "result" not in late_messages[-1]:
            async with session.reading(both.b, late.last_id) as resumed:
                assert "result" in await resumed.answer()


async def test_a_call_that_takes_too_long_is_answered(engine: Engine) -> None:
    async with two(engine, drain_timeout=0.3) as both:
        session = await both.session()
        async with session.calling(both.a, "wait", token="t", tag="long") as call:
            await call.next()
            both.served[0].host.drain()
            assert await call.next() is None
        async with session.reading(both.b, call.last_id) as resumed:
            assert (await resumed.answer())["error"]["message"] == SHUT_DOWN
        await until(lambda: both.talk.cancelled == ["long@a"])


async def test_a_client_without_a_stream_or_that_cannot_resume_is_answered() -> None:
    async with two(memory(None), drain_timeout=0.3) as both:  # type: ignore[arg-type]
        old = await both.session(version="2025-06-18")
        async with old.calling(both.a, "wait", token="t") as call:
            await call.next()
            both.served[0].host.drain()
            assert (await call.answer())["error"]["message"] == SHUT_DOWN


async def test_a_handler_that_cannot_be_cancelled_does_not_keep_the_answer_back() -> None:
    talk = Talk()
    released = asyncio.Event()

    def make(_: Talk, name: str) -> MCPServer[Any]:
        server = talkative(talk, name)

        @server.tool()
        async def stubborn() -> str:
            with anyio.CancelScope(shield=True):
                talk.running += 1
                await released.wait()
            return "late"

        return server

    async with two(memory(None), make=make, drain_timeout=0.2) as both:  # type: ignore[arg-type]
        session = await both.session(version="2025-06-18")
        async with session.calling(both.a, "stubborn") as call:
            await until(lambda: talk.running == 1)
            both.served[0].host.drain()
            assert (await call.answer())["error"]["message"] == SHUT_DOWN
        released.set()


async def test_nothing_outlives_the_lifespan() -> None:
    before = asyncio.all_tasks()
    talk = Talk()
    entered: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[str]:
        entered.append("in")
        yield "kept"
        entered.append("out")

    served = serve_sessions(talkative(talk, "a", lifespan=lifespan))
    for _ in range(2):
        async with served.lifespan():
            assert asyncio.all_tasks() > before
            with pytest.raises(RuntimeError, match="running already"):
                async with served.lifespan():
                    pass
        assert asyncio.all_tasks() == before
    assert entered == ["in", "out"] * 2
    with pytest.raises(RuntimeError, match=r"lifespan=served\.lifespan"):
        await served({"type": "http", "method": "GET", "path": "/mcp", "headers": [(b"host", b"localhost")]}, no, no)


async def test_two_applications_in_one_process_end_in_any_order() -> None:
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    ends = [anyio.Event(), anyio.Event()]
    started = [anyio.Event(), anyio.Event()]
    apps = [serve_sessions(talkative(Talk(), name)) for name in "ab"]

    async def run(place: int) -> None:
        async with apps[place].lifespan():
            started[place].set()
            await ends[place].wait()

    try:
        async with anyio.create_task_group() as tasks:
            for place in (0, 1):
                tasks.start_soon(run, place)
                await started[place].wait()
            ends[0].set()
            await anyio.sleep(0.05)
            signal.raise_signal(signal.SIGTERM)
            await until(lambda: apps[1].host.instance.is_draining)
            ends[1].set()
        signal.raise_signal(signal.SIGTERM)
        assert told == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("delays", [(0.1, 0.3), (60.0, 90.0)], ids=["in time", "in a hurry"])
async def test_two_applications_in_one_process_stop_together(delays: tuple[float, float]) -> None:
    told: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(time.monotonic()))
    one, other = (serve_sessions(talkative(Talk(), "a"), stop_delay=delay) for delay in delays)
    try:
        async with one.lifespan(), other.lifespan():
            assert one.is_ready
            assert other.is_ready
            began_at = time.monotonic()
            signal.raise_signal(signal.SIGTERM)
            assert not one.is_ready
            assert not other.is_ready
            if max(delays) > 1:
                await anyio.wait_all_tasks_blocked()
                assert not told
                assert not one.host.is_draining
                signal.raise_signal(signal.SIGTERM)
            await until(lambda: one.host.is_draining and other.host.is_draining)
            assert len(told) == 1
            assert max(delays) > 1 or told[0] - began_at >= max(delays)
        assert not one.is_ready
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("stop_delay", [-1.0, float("nan"), float("inf")])
def test_a_delay_that_is_none(stop_delay: float) -> None:
    with pytest.raises(ValueError, match="`stop_delay` must be a number of seconds, from 0 to ten years"):
        serve_sessions(Server[Any]("plain"), stop_delay=stop_delay)


@pytest.mark.parametrize("session_ttl", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_a_time_to_live_that_no_store_knows(session_ttl: float) -> None:
    with pytest.raises(ValueError, match="`session_ttl` must be a number of seconds, from more than 0 to ten years"):
        serve_sessions(Server[Any]("plain"), session_ttl=session_ttl)


async def no(*_: Any) -> Any:
    """Neither sends nor receives."""


async def test_a_lifespan_that_fails_ends_all() -> None:
    before = asyncio.all_tasks()
    served = serve_sessions(Server[Any]("plain"))
    with pytest.raises(ExceptionGroup) as raised:
        async with served.lifespan():
            raise LookupError("The application failed.")
    assert raised.group_contains(LookupError)
    assert asyncio.all_tasks() == before


SERVER = """
import socket, sys
sys.path[:0] = [{root!r}]
import uvicorn
from tests.serving.instances import Talk, talkative
from jackfield.serving import serve_sessions
from jackfield.serving.background import Background
app = serve_sessions(talkative(Talk(), "a"), drain_timeout=1.0, stop_delay={stop_delay!r})
listener = socket.socket(fileno=int(sys.argv[1]))
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listener])
"""


@contextmanager
def process(stop_delay: float = 0.0) -> Generator[tuple[subprocess.Popen[str], str]]:
    """An instance in a process of its own; and its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        program = SERVER.format(root=str(Path(__file__).parents[2]), stop_delay=stop_delay)
        started = subprocess.Popen(
            [quick_python(), "-c", program, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**unmeasured(), MARK: TOKEN},
        )
    try:
        yield started, url
    finally:
        started.kill()
        started.communicate()


async def test_uvicorn_exits_on_sigterm_whatever_is_open() -> None:
    with process() as (server, url):
        async with httpx2.AsyncClient(timeout=30) as http:
            opening = Session(http, "")
            message = {"id": 0, "method": "initialize", "params": INITIALIZE}
            response = await opening.post(url, message, mcp_session_id=None)
            session = Session(http, response.headers["mcp-session-id"])
            old = {**message, "params": {**INITIALIZE, "protocolVersion": "2025-06-18"}}
            response = await opening.post(url, old, mcp_session_id=None, mcp_protocol_version=None)
            old_session = Session(http, response.headers["mcp-session-id"], "2025-06-18")
            listen = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen"}
            params = {"notifications": {"toolsListChanged": True}, "_meta": MODERN_META}
            named = {name.replace("_", "-"): value for name, value in modern_headers("subscriptions/listen").items()}
            headers = {"accept": "application/json, text/event-stream", "content-type": "application/json", **named}
            body = json.dumps({**listen, "params": params})
            async with (
                session.reading(url) as standalone,
                old_session.calling(url, "ask", method="ping", params={}) as call,
                http.stream("POST", url, content=body, headers=headers) as listening,
            ):
                await standalone.begin()
                await call.next()
                before = time.monotonic()
                server.send_signal(signal.SIGTERM)
                assert await standalone.next() is None
                answer = await call.answer()
                assert answer["error"]["message"] == SHUT_DOWN
                assert [line async for line in listening.aiter_lines()]
            output, _ = await asyncio.to_thread(server.communicate, None, 20)
            assert time.monotonic() - before < 10
            assert "Traceback" not in output
            assert "running" not in output


async def test_everything_is_served_until_balancers_know_that_it_stops() -> None:
    with process(stop_delay=60.0) as (server, url):
        ready = url.replace("/mcp", "/ready")
        async with httpx2.AsyncClient(timeout=30) as http:
            assert (await http.get(ready)).status_code == 200
            message = {"id": 0, "method": "initialize", "params": INITIALIZE}
            response = await Session(http, "").post(url, message, mcp_session_id=None)
            assert "connection" not in response.headers
            session = Session(http, response.headers["mcp-session-id"])
            async with session.reading(url) as standalone:
                await standalone.begin()
                server.send_signal(signal.SIGTERM)
                with anyio.fail_after(20):
                    while (response := await http.get(ready)).status_code == 200:
                        await anyio.sleep(0.01)
                assert response.status_code == 503
                called = await session.post(url, {"id": 1, "method": "ping"})
                assert called.json()["result"] == {}
                # Whoever kept the connection would lose the request that it sends while it is closed.
                assert called.headers["connection"] == "close"
                assert await session.call(url, "where") == "a"
                await session.call(url, "log", texts=[["info", "still"]], alone=True)
                told = await standalone.next()
                assert told is not None
                assert told["params"]["data"] == "still"
                # Somebody is in a hurry.
                server.send_signal(signal.SIGTERM)
                assert await standalone.next() is None
        output, _ = await asyncio.to_thread(server.communicate, None, 20)
        assert "Traceback" not in output


async def test_it_stops_after_the_delay() -> None:
    with process(stop_delay=0.5) as (server, url):
        async with httpx2.AsyncClient(timeout=30) as http:
            assert (await http.get(url.replace("/mcp", "/ready"))).status_code == 200
        before = time.monotonic()
        server.send_signal(signal.SIGTERM)
        output, _ = await asyncio.to_thread(server.communicate, None, 20)
        assert time.monotonic() - before > 0.5
        assert server.returncode == -signal.SIGTERM
        assert "Traceback" not in output
