"""The programs that serve sessions, as people run them, and Jackfield's client in front of them."""

from __future__ import annotations

import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx2
import pytest
from examples.stateful_servers import postgres
from mcp.types import ElicitRequestParams, ElicitResult
from tests.conftest import MARK, TOKEN, eventually, quick_python
from tests.examples.conftest import EXAMPLES, needs
from tests.forked import unmeasured
from tests.postgres import running_postgres
from tests.serving import redis_server as redis

from jackfield import HttpConfig, MCPClientSessionManager, SessionCallbacks


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def served(script: str, port: int, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """One of the programs, until the block is left; it is stopped as a process manager does it."""
    command = [quick_python(), str(EXAMPLES / "serving" / script), str(port)]
    environ = {**unmeasured(), MARK: TOKEN, "PYTHONWARNINGS": "error::ResourceWarning", **environment}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ)
    try:
        started = eventually(lambda: answers(port) or process.poll() is not None, 30)
        assert started
        assert process.poll() is None, process.communicate()[0]
        yield process
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=15)
    assert "Traceback" not in output
    assert "Application shutdown complete." in output


async def agree(context: Any, params: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="accept", content={"place_order": True})


ACCEPT = {"accept": "application/json, text/event-stream"}
AGREES = SessionCallbacks(elicitation=agree)


def at(port: int) -> HttpConfig:
    return HttpConfig(server_name="shop", url=f"http://127.0.0.1:{port}/mcp", protocol="handshake")


async def shop_at(port: int) -> None:
    """What a customer does."""
    async with MCPClientSessionManager().open_session(at(port), callbacks=AGREES) as session:
        assert (await session.call_tool("add", {"item": "tea"})).data == ["tea"]
        assert (await session.call_tool("add", {"item": "milk"})).data == ["tea", "milk"]
        assert (await session.call_tool("checkout")).text == "Ordered: tea, milk."


@pytest.mark.parametrize("script", ["single.py", "in_fastapi.py", "in_starlette.py"])
async def test_one_instance(script: str) -> None:
    port = free_port()
    with served(script, port):
        await shop_at(port)


async def test_stateless() -> None:
    port = free_port()
    with served("stateless.py", port):
        async with MCPClientSessionManager().open_session(at(port)) as session:
            assert (await session.call_tool("inches", {"centimetres": 5.08})).data == 2.0


@pytest.mark.parametrize(
    ("script", "path", "text"),
    [("in_fastapi.py", "/health", '{"sessions":0}'), ("in_starlette.py", "/", "The MCP server is at /mcp.")],
)
async def test_routes_of_the_application_still_work(script: str, path: str, text: str) -> None:
    port = free_port()
    with served(script, port):
        url = f"http://127.0.0.1:{port}{path}"
        assert await anyio.to_thread.run_sync(lambda: fetched(url)) == text


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


@pytest.fixture
def redis_url() -> Iterator[str]:
    needs(redis.missing())
    with redis.running_redis() as running:
        yield running.url


@pytest.mark.third_party
async def test_sessions_survive_a_restart(redis_url: str) -> None:
    port = free_port()
    async with MCPClientSessionManager() as manager:
        with served("persistent.py", port, REDIS_URL=redis_url):
            async with manager.open_session(at(port), key="ada", callbacks=AGREES) as session:
                await session.call_tool("add", {"item": "tea"})
        with served("persistent.py", port, REDIS_URL=redis_url):
            async with manager.open_session(at(port), key="ada", callbacks=AGREES) as session:
                result = await session.call_tool("add", {"item": "milk"})
                assert (result.data, result.state_lost) == (["tea", "milk"], False)


@pytest.fixture(params=["redis", "postgresql"])
def sessions_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "redis":
        yield request.getfixturevalue("redis_url")
        return
    needs(postgres.missing())
    with running_postgres() as running:
        migrate = [quick_python(), "-m", "jackfield", "serving", "migrate", "--postgres", running.url]
        subprocess.run(migrate, check=True, capture_output=True)
        yield running.url


@pytest.mark.third_party
async def test_two_instances_serve_one_session(sessions_url: str) -> None:
    environment = {"SESSIONS_URL": sessions_url, "REQUEST_STATE_KEY": "a key for this test of 32 letters"}
    first, second = free_port(), free_port()
    with served("distributed.py", first, **environment), served("distributed.py", second, **environment):
        async with httpx2.AsyncClient() as client:
            session: dict[str, str] = {}
            for number, (port, item) in enumerate([(first, "tea"), (second, "milk"), (first, "rice")], 1):
                if not session:
                    session["mcp-session-id"] = await initialized(client, port)
                call = {"name": "add", "arguments": {"item": item}}
                answer = await post(client, port, {"id": number, "method": "tools/call", "params": call}, session)
                assert len(answer["result"]["structuredContent"]["result"]) == number


async def initialized(client: httpx2.AsyncClient, port: int) -> str:
    about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about}
    response = await client.post(f"http://127.0.0.1:{port}/mcp", json=body, headers=ACCEPT)
    return response.raise_for_status().headers["mcp-session-id"]


async def post(
    client: httpx2.AsyncClient, port: int, message: dict[str, Any], session: dict[str, str]
) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}/mcp"
    response = await client.post(url, json={"jsonrpc": "2.0", **message}, headers=ACCEPT | session)
    return response.raise_for_status().json()
