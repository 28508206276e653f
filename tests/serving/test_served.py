"""What can be served, and how: the SDK's own client, low-level servers, without sessions, in workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp
import mcp_types as types
import pytest
from mcp.server.lowlevel.server import Server
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.conftest import MARK, TOKEN
from tests.forked import unmeasured
from tests.serving.authorized import INITIALIZE, listening, until
from tests.serving.contract.conftest import ENGINES, Engine
from tests.serving.instances import Session, Talk, Two, talkative, two
from tests.serving.redis_server import RedisServer

from jackfield.serving import serve_sessions


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param](request)


class RoundRobin:
    """An ASGI application in front of both instances: each request goes to the next one."""

    def __init__(self, both: Two) -> None:
        self._both = both
        self._count = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self._count += 1
        await self._both.served[self._count % 2](scope, receive, send)


async def test_the_sdks_client_round_robin(engine: Engine) -> None:
    heard: list[Any] = []

    async def on_message(message: Any) -> None:
        heard.append(message)

    async def elicit(context: Any, params: Any) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"city": "Bern"})

    async with two(engine) as both, listening(RoundRobin(both)) as url:
        async with mcp.Client(
            f"{url}/mcp", mode="legacy", elicitation_callback=elicit, message_handler=on_message
        ) as client:
            texts = [await text_of(client, "where") for _ in range(6)]
            assert set(texts) == {"a", "b"}
            progress: list[float] = []

            async def on_progress(done: float, total: float | None, message: str | None) -> None:
                progress.append(done)

            await client.call_tool("count", {"times": 20}, progress_callback=on_progress)
            assert progress == list(range(1, 21))
            schema = {"type": "object", "properties": {"city": {"type": "string"}}}
            asked = {"mode": "form", "message": "?", "requestedSchema": schema}
            for alone in (False, True):
                answer = await text_of(client, "ask", method="elicitation/create", params=asked, alone=alone)
                assert "Bern" in answer
            await client.call_tool("changed", {})
            await until(lambda: any("list_changed" in str(one) for one in heard))


async def text_of(client: mcp.Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return content.text


async def test_a_low_level_server(engine: Engine) -> None:
    def make(talk: Talk, name: str) -> Server[Any]:
        async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            return types.CallToolResult(content=[types.TextContent(type="text", text=f"{params.name} {name}")])

        return Server("low", on_call_tool=call_tool)

    async with two(engine, make=make) as both:
        session = await both.session()
        assert [await session.call(url, "tool") for url in both.urls] == ["tool a", "tool b"]


async def test_a_server_of_fastmcp(engine: Engine) -> None:
    """Its public API does not have the SDK's server that it holds."""
    fastmcp: Any = pytest.importorskip("fastmcp")

    def make(talk: Talk, name: str) -> Any:
        server = fastmcp.FastMCP("fast")
        with pytest.raises(TypeError, match=r"server\._mcp_server"):
            serve_sessions(server)

        async def ask(ctx: Any) -> str:
            answer = await ctx.elicit("Which city?", response_type=str)
            return f"{answer.data} {name}"

        ask.__annotations__["ctx"] = fastmcp.Context  # names of this function are not found in texts
        server.tool(ask)
        return server._mcp_server

    async with two(engine, make=make) as both:
        session = await both.session()
        async with session.calling(both.a, "ask") as call:
            asked = await call.next()
            assert asked is not None
            await session.answer(both.b, asked, {"action": "accept", "content": {"value": "Bern"}})
            assert (await call.answer())["result"]["structuredContent"] == {"result": "Bern a"}


async def test_without_sessions() -> None:
    served = serve_sessions(talkative(Talk(), "a"), stateless=True)
    async with listening(served) as url, httpx2.AsyncClient(timeout=30) as http:
        session = Session(http, "")
        response = await session.post(
            f"{url}/mcp", {"id": 1, "method": "initialize", "params": INITIALIZE}, mcp_session_id=None
        )
        assert response.status_code == 200
        assert "mcp-session-id" not in response.headers
        message = {"id": 2, "method": "tools/call", "params": {"name": "where", "arguments": {}}}
        response = await session.post(f"{url}/mcp", message, mcp_session_id=None)
        assert '"text":"a"' in response.text.replace(" ", "")
    with pytest.raises(RuntimeError, match="no sessions"):
        _ = served.host


async def test_two_applications_below_paths_of_one() -> None:
    one, other = serve_sessions(talkative(Talk(), "one")), serve_sessions(talkative(Talk(), "other"), path="/")

    async def run(app: Starlette) -> Any:
        async with one.lifespan(app), other.lifespan(app):
            yield

    outer = Starlette(routes=[Mount("/one", one), Mount("/other", other)], lifespan=asynccontextmanager(run))
    async with listening(outer) as url, httpx2.AsyncClient(timeout=30) as http:
        for path, name in (("/one/mcp", "one"), ("/other/", "other")):
            opening = Session(http, "")
            message = {"id": 1, "method": "initialize", "params": INITIALIZE}
            response = await opening.post(url + path, message, mcp_session_id=None)
            session = Session(http, response.headers["mcp-session-id"])
            assert await session.call(url + path, "where") == name
            elsewhere = "/other/" if name == "one" else "/one/mcp"
            assert (await session.post(url + elsewhere, {"id": 2, "method": "ping"})).status_code == 404


async def test_mounted_and_not_started() -> None:
    outer = Starlette(routes=[Mount("/", serve_sessions(talkative(Talk(), "a")))])
    async with listening(outer) as url, httpx2.AsyncClient(timeout=30) as http:
        message = {"id": 1, "method": "initialize", "params": INITIALIZE}
        response = await Session(http, "").post(f"{url}/mcp", message, mcp_session_id=None)
        assert response.status_code == 500


WORKER = """
import os, sys
sys.path[:0] = [{root!r}]
from tests.serving.instances import Talk, talkative
from jackfield.serving import RedisBackend, serve_sessions
app = serve_sessions(talkative(Talk(), str(os.getpid())), RedisBackend({url!r}, prefix={prefix!r}), drain_timeout=1.0)
"""


async def test_workers_of_uvicorn_share_sessions(redis_server: RedisServer, tmp_path: Path) -> None:
    program = WORKER.format(root=str(Path(__file__).parents[2]), url=redis_server.url, prefix=f"workers-{os.getpid()}")
    (tmp_path / "two_workers.py").write_text(program)
    command = ["-m", "uvicorn", "two_workers:app", "--workers", "2", "--port", "0", "--log-level", "info"]
    server = subprocess.Popen(
        [sys.executable, *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**unmeasured(), MARK: TOKEN},
    )
    try:
        assert server.stdout is not None
        url = ""
        started = 0
        while started < 2 or not url:
            line = await anyio.to_thread.run_sync(server.stdout.readline)
            assert line, "It ended."
            started += "Application startup complete" in line
            if "running on http" in line:
                url = line.split("running on ")[1].split()[0] + "/mcp"
        async with httpx2.AsyncClient(timeout=30, limits=httpx2.Limits(max_keepalive_connections=0)) as http:
            message = {"id": 1, "method": "initialize", "params": INITIALIZE}
            response = await Session(http, "").post(url, message, mcp_session_id=None)
            session = Session(http, response.headers["mcp-session-id"])
            names: set[str] = set()
            deadline = time.monotonic() + 20
            while len(names) < 2 and time.monotonic() < deadline:
                names.add(await session.call(url, "where"))
            assert len(names) == 2
            async with session.calling(url, "ask", method="ping", params={}) as call:
                asked = await call.next()
                assert asked is not None
                await session.answer(url, asked, {})
                assert "result" in await call.answer()
    finally:
        server.send_signal(signal.SIGTERM)
        output, _ = await anyio.to_thread.run_sync(server.communicate)
    assert "Traceback" not in output
