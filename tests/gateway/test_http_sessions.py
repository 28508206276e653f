"""How long the sessions of a client over HTTP live, seen from raw requests."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from tests.cli.conftest import Command
from tests.conftest import quick_python
from tests.gateway.conftest import behind, jackfield, unruly_entry

__all__ = ["jackfield"]

SERVE = """
import asyncio, json, os, sys, threading
from jackfield import MCPClientSessionManager, MCPConfig
from jackfield.gateway.gateway import Gateway
from jackfield.gateway.http import HttpSettings, listen, serve_http

async def run():
    listener, url = listen("0")
    async with MCPClientSessionManager(MCPConfig.load(sys.argv[1])) as manager, Gateway(manager) as gateway:
        loop = asyncio.get_running_loop()

        async def look():
            # The one of sse_starlette is for the whole loop; a new listing is looked at once more, a moment later.
            tasks = [task for task in asyncio.all_tasks() if task.get_coro().__name__ != "_shutdown_watcher"]
            tasks = [task for task in tasks if not task.get_name().endswith("Listings._settle")]
            return [len(tasks), len(list(gateway.clients)), len(manager.sessions())]

        def answer():
            for _ in sys.stdin:
                print(*asyncio.run_coroutine_threadsafe(look(), loop).result(), flush=True)

        def say(page):
            print(url, os.getpid(), flush=True)
            threading.Thread(target=answer, daemon=True).start()

        await serve_http(gateway, listener, HttpSettings(**json.loads(sys.argv[2])), on_listening=say)

asyncio.run(run())
"""
AT_ONCE = 0.1
"""A time that is over when a test goes on; whatever must not happen in it makes no difference to how quick this is."""


class Gateway:
    """A gateway with one server behind it, and times of the test's own."""

    def __init__(self, command: Command, **settings: float) -> None:
        file = command.configure(one=unruly_entry())
        self.process = subprocess.Popen(
            [quick_python(), "-c", SERVE, str(file), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=command.environment,
        )
        assert self.process.stdout
        self.url, pid = self.process.stdout.readline().split()
        self._pid = int(pid)

    def tasks_clients_sessions(self) -> list[int]:
        """How many there are in it."""
        assert self.process.stdin
        assert self.process.stdout
        print(file=self.process.stdin, flush=True)
        return [int(word) for word in self.process.stdout.readline().split()]

    def servers(self) -> int:
        """How many processes of servers it has."""
        return len(behind(self._pid))


@pytest.fixture
def gateway(jackfield: Command) -> Iterator[Callable[..., Gateway]]:
    """Starts gateways, and ends them after the test."""
    started: list[Gateway] = []

    def start(**settings: float) -> Gateway:
        started.append(Gateway(jackfield, **settings))
        assert started[-1].url
        return started[-1]

    yield start
    for one in started:
        one.process.terminate()
        one.process.communicate(timeout=30)


class RawClient:
    """A client of 2025-11-25 that says just what a test asks for."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self.http = http
        self.url = url
        self.asked = 0
        self.headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}

    async def post(self, method: str, headers: dict[str, str] | None = None, **params: Any) -> httpx2.Response:
        """A request, or a notification."""
        body = {"jsonrpc": "2.0", "method": method, "params": params}
        if not method.startswith("notifications/"):
            self.asked += 1
            body["id"] = self.asked
        return await self.http.post(self.url, json=body, headers={**self.headers, **(headers or {})})

    async def begin(self) -> None:
        """The handshake."""
        about = {"capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        answer = await self.post("initialize", protocolVersion="2025-11-25", **about)
        self.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
        await self.post("notifications/initialized")

    async def call(self, tool: str, **arguments: Any) -> httpx2.Response:
        """Call a tool of the server behind."""
        return await self.post(
            "tools/call", name="call_tool", arguments={"tool": f"one.{tool}", "arguments": arguments}
        )

    async def count(self) -> int:
        """How often the server behind was asked this in its life."""
        found = re.search(r'"text":"(\d+)"', (await self.call("count")).text)
        assert found
        return int(found[1])

    def stream(self, **headers: str) -> AbstractAsyncContextManager[httpx2.Response]:
        """The standing stream."""
        return self.http.stream("GET", self.url, headers={**self.headers, **headers})


@asynccontextmanager
async def raw_client(gateway: Gateway) -> AsyncIterator[RawClient]:
    async with httpx2.AsyncClient(timeout=30) as http:
        client = RawClient(http, gateway.url)
        await client.begin()
        yield client


async def at_rest(gateway: Gateway) -> list[int]:
    """What there is in it once it has served somebody, who has left."""
    async with raw_client(gateway) as client:
        assert await client.count() == 1
        await client.http.delete(gateway.url, headers=client.headers)
    await until(lambda: gateway.servers() == 0 and gateway.tasks_clients_sessions()[1:] == [0, 0])
    return gateway.tasks_clients_sessions()


async def gone(gateway: Gateway) -> None:
    """Wait until a client whose stream broke just now has been found to be gone."""
    servers = gateway.servers()
    async with raw_client(gateway) as witness:
        async with witness.stream():
            await witness.count()
            assert gateway.servers() == servers + 1
        await until(lambda: gateway.servers() == servers)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.01)


async def test_only_the_endpoint_itself_ends_a_session(gateway: Callable[..., Gateway]) -> None:
    serving = gateway()
    root = serving.url.removesuffix("/mcp")
    async with raw_client(serving) as client:
        assert await client.count() == 1
        for method, url in [
            ("GET", f"{root}/.well-known/oauth-protected-resource"),
            ("POST", f"{root}/"),
            ("DELETE", f"{root}/mcp/other"),
            ("PUT", serving.url),
        ]:
            answer = await client.http.request(method, url, headers=client.headers)
            assert answer.status_code in (404, 405), url
        later = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "no/such"}
        meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
        assert (await client.post("no/such", later, _meta=meta)).status_code in (400, 404)
        unknown = {"Mcp-Session-Id": "0" * 32}
        assert (await client.post("ping", unknown)).status_code == 404
        assert await client.count() == 2
        assert (await client.http.delete(serving.url, headers=client.headers)).status_code == 200
        assert (await client.post("ping")).status_code == 404
        await until(lambda: serving.servers() == 0)


async def test_a_client_whose_stream_broke_for_good_leaves_nothing(gateway: Callable[..., Gateway]) -> None:
    serving = gateway(reconnect_timeout=AT_ONCE)
    before = await at_rest(serving)
    async with raw_client(serving) as client, raw_client(serving) as streamless:
        assert await streamless.count() == 1
        async with client.stream() as stream:
            assert stream.status_code == 200
            assert await client.count() == 1
            assert serving.servers() == 2
            await gone(serving)
            assert await client.count() == 2  # its own stream is there
        await until(lambda: serving.servers() == 1)
        assert (await client.post("ping")).status_code == 404
        assert await streamless.count() == 2  # it never had one
        await streamless.http.delete(serving.url, headers=streamless.headers)
    await until(lambda: serving.tasks_clients_sessions() == before)


@pytest.mark.parametrize("is_left", [False, True])
async def test_a_call_under_way_holds_a_session_whose_stream_broke(
    is_left: bool, gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    serving = gateway(reconnect_timeout=AT_ONCE)
    before = await at_rest(serving)
    end = tmp_path / "end"
    results: list[httpx2.Response] = []
    async with raw_client(serving) as client:

        async def call() -> None:
            results.append(await client.call("sleep", seconds=60, until=str(end)))

        # The first call of all waits for a listing, in another process, which ends with it.
        await client.count()
        await until(lambda: serving.servers() == 1)
        async with anyio.create_task_group() as tasks:
            async with client.stream():
                tasks.start_soon(call)
                await until(end.with_name("end.begun").exists)
            await gone(serving)
            if is_left:
                assert (await client.post("ping")).status_code == 200
                tasks.cancel_scope.cancel()
            else:
                end.touch()
        assert ['"isError":false' in result.text for result in results] == ([] if is_left else [True])
        await until(lambda: serving.servers() == 0)
    await until(lambda: serving.tasks_clients_sessions() == before)


@pytest.mark.parametrize("resumes", [False, True])
async def test_a_client_that_comes_back_keeps_its_state(resumes: bool, gateway: Callable[..., Gateway]) -> None:
    serving = gateway(reconnect_timeout=1.0)
    for _ in range(20):
        async with raw_client(serving) as client:
            assert await client.count() == 1
            async with client.stream() as stream:
                assert stream.status_code == 200
                beginning = await anext(stream.aiter_lines())
            headers = {"Last-Event-ID": beginning.removeprefix("id: ")} if resumes else {}
            async with client.stream(**headers) as again:
                if again.status_code == 404:
                    continue  # This machine took longer than the time to come back in.
                assert again.status_code == 200
                await gone(serving)
                assert await client.count() == 2
            return
    pytest.fail("never quick enough")


async def test_a_client_that_goes_without_a_word_is_forgotten(gateway: Callable[..., Gateway]) -> None:
    serving = gateway(session_idle_timeout=0.5)
    async with raw_client(serving) as client:
        assert await client.count() == 1
        await until(lambda: serving.servers() == 0)
        assert (await client.call("count")).status_code == 404
