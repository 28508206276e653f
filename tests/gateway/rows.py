"""What SERVING promises of instances, through the gateway: kills, rolling restarts, notifications, and what is left.

    python -m tests.gateway.rows [--store redis|postgres] [--only kills|rolling|heard|cycles] [--each 20] [--calls 2000]
        [--kills 5] [--cycles 10000]

- `kills`: an instance is killed under each kind of call: where it was posted to, where its client reads, which owns its
  server, or both of these; short, long, and waiting for its user. Each ends within 3 s, or 0.5 s where the owner dies.
- `rolling`: instances are stopped by SIGTERM and started again, one after the other, while clients call: none fails.
- `heard`: our client hears of every change after each of five kills.
- `cycles`: sessions are opened, used and ended: nothing is left of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx2
import psutil
from tests.cli.conftest import PYTHON, Command
from tests.conftest import MARK, SERVERS, TOKEN, quick_python
from tests.gateway.conftest import QUICK, behind, everything
from tests.gateway.several import Team, running_team
from tests.serving.cluster.cluster import free_port, get, running, running_store, until_listens

from jackfield import Catalog, HttpConfig, MCPClientSessionManager
from jackfield.serving.backplane import TRUSTED_AFTER_SECONDS

ROLES = ("executor", "reader", "owner", "both")
LENGTHS = ("short", "long", "asking")
ANSWER_SECONDS, OWNED_SECONDS, HANG_SECONDS = 3.0, 0.5, 30.0
TIMER_SECONDS = 0.1
"""What this program itself may be late by on a busy machine."""

GOES_ON_SECONDS = 10.0
SECONDS = {"short": 0.09, "long": 1.5}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"elicitation": {"form": {}}},
    "clientInfo": {"name": "rows", "version": "1"},
}
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}


@dataclass
class Session:
    """A client's session, by hand."""

    http: httpx2.AsyncClient
    headers: dict[str, str] = field(default_factory=lambda: dict(HEADERS))
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def begin(self, url: str) -> None:
        """The handshake."""
        answer = await self.post(url, "initialize", INITIALIZE)
        self.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
        await self.http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=self.headers)

    async def post(self, url: str, method: str, params: object) -> httpx2.Response:
        """A request."""
        body = {"jsonrpc": "2.0", "id": next(self.numbers), "method": method, "params": params}
        return await self.http.post(url, json=body, headers=self.headers)

    async def call(self, url: str, tool: str, **arguments: object) -> str:
        """Call a tool: `server.tool`."""
        return (await self.post(url, "tools/call", _called(tool, arguments))).text

    async def read(self, url: str, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Read the standing stream, as long as there is one."""
        headers = {**self.headers, "Accept": "text/event-stream"}
        try:
            async with self.http.stream("GET", url, headers=headers) as response:
                task_status.started()
                async for _ in response.aiter_bytes():
                    pass
        except httpx2.TransportError:
            pass


def _called(tool: str, arguments: Mapping[str, object]) -> dict[str, object]:
    return {"name": "call_tool", "arguments": {"tool": tool, "arguments": arguments}}


@dataclass
class Made:
    """A call, and what became of it."""

    session: Session
    role: str
    length: str
    tag: str
    url: str
    survivor: str
    text: str | None = None
    ended_at: float | None = None
    asked: anyio.Event = field(default_factory=anyio.Event)
    question: object = None
    _last_event: str | None = None

    async def make(self) -> None:
        """Make it; a stream that breaks is resumed at the instance that lives."""
        number, server = next(self.session.numbers), "owned" if self.role in ("owner", "both") else "web"
        given = {"kinds": ["form"]} if self.length == "asking" else {"seconds": SECONDS[self.length], "tag": self.tag}
        tool = "ask" if self.length == "asking" else "pause"
        params = _called(f"{server}.{tool}", {**given, "id": self.tag})
        body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        http, headers = self.session.http, self.session.headers
        try:
            async with http.stream("POST", self.url, json=body, headers=headers) as response:
                await self._read(response, number)
        except httpx2.TransportError:
            pass
        while self.text is None and self._last_event is not None:
            more = {**headers, "Accept": "text/event-stream", "Last-Event-ID": self._last_event}
            try:
                async with http.stream("GET", self.survivor, headers=more) as response:
                    await self._read(response, number)
            except httpx2.TransportError:
                pass
            await anyio.sleep(0.02)
        self.text = self.text or "the connection broke"
        self.ended_at = time.monotonic()
        # Or it never will be.
        self.asked.set()

    async def _read(self, response: httpx2.Response, number: int) -> None:
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            self.text = (await response.aread()).decode()
            return
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                self._last_event = value
            if name != "data" or not value:
                continue
            message = json.loads(value)
            if message.get("method") == "elicitation/create":
                self.question = message["id"]
                self.asked.set()
            elif message.get("id") == number:
                self.text = value
                return


async def kills(team: Team, log: Path, each: int, late: float = TIMER_SECONDS) -> list[str]:
    """Kill an instance under calls of each kind.

    Args:
        team: The instances.
        log: Where their servers write down what they run.
        each: How many of each kind.
        late: Seconds that an answer may be late by.
    """
    wrong: list[str] = []
    slowest: dict[tuple[str, str], float] = defaultdict(float)
    outcomes: Counter[str] = Counter()
    tags: list[str] = []
    for number in range(each):
        victim, other = team.instances[number % 2], team.instances[(number + 1) % 2]
        async with httpx2.AsyncClient(timeout=HANG_SECONDS) as http, anyio.create_task_group() as tasks:
            made: list[Made] = []
            for role, length in itertools.product(ROLES, LENGTHS):
                session, tag = Session(http), f"{number}-{role}-{length}"
                tags.append(tag)
                await session.begin(other.url)
                if role in ("owner", "both"):
                    # Whoever is asked first owns it.
                    await session.call(victim.url, "owned.recall")
                await tasks.start(session.read, (victim if role in ("reader", "both") else other).url)
                url = (victim if role == "executor" else other).url
                made.append(Made(session, role, length, tag, url, other.url))
            async with anyio.create_task_group() as calls:
                for call in made:
                    if call.length != "short":
                        calls.start_soon(call.make)
                with anyio.fail_after(HANG_SECONDS):
                    for call in made:
                        if call.length == "asking":
                            await call.asked.wait()
                for call in made:
                    if call.length == "short":
                        calls.start_soon(call.make)
                await anyio.sleep(0.03 + 0.01 * (number % 5))
                killed_at = time.monotonic()
                victim.signal(signal.SIGKILL)
                await victim.ended()
                for call in made:
                    if call.question is not None and call.role == "reader":
                        answer = {"jsonrpc": "2.0", "id": call.question, "result": {"action": "decline"}}
                        await http.post(other.url, json=answer, headers=call.session.headers)
            wrong += [
                f"{call.tag}: its user was not asked: {call.text or '':.300}"
                for call in made
                if call.length == "asking" and call.question is None
            ]
            for call in made:
                is_owned, text = call.role in ("owner", "both"), call.text or ""
                is_lost = "ended before it answered" in text or "may have taken effect" in text
                # One that is made is not answered before it is done.
                work = 0 if is_lost else SECONDS.get(call.length, 0)
                seconds = (call.ended_at or 0) - killed_at - work
                slowest[call.role, call.length] = max(slowest[call.role, call.length], seconds)
                outcomes["lost" if is_lost else "answered" if '"result"' in text else "broken"] += 1
                # A call that had not been sent to the owner is made where its server is opened again.
                if seconds > (OWNED_SECONDS if is_owned and is_lost else ANSWER_SECONDS) + late:
                    wrong.append(f"{call.tag}: {seconds:.2f} s after the kill: {text[:200]}")
                if call.role == "reader" and ('"result"' not in text or is_lost):
                    wrong.append(f"{call.tag}: the instance that ran it lived: {text[:200]}")
                server = "owned" if is_owned else "web"
                try:
                    with anyio.fail_after(GOES_ON_SECONDS):
                        text = await call.session.call(other.url, f"{server}.recall")
                    assert '"result"' in text, text
                    assert '"isError":true' not in text, text
                except (TimeoutError, AssertionError) as error:
                    wrong.append(f"{call.tag}: the session does not go on: {error!r:.300}")
                await http.delete(other.url, headers=call.session.headers)
            tasks.cancel_scope.cancel()
        await victim.start()
        # An instance trusts what it hears of others after so long.
        await anyio.sleep(TRUSTED_AFTER_SECONDS)
    lines = Counter(line.split()[-1] for line in log.read_text().splitlines() if line.startswith("run "))
    twice = [tag for tag in tags if lines[tag] > 1]
    print(f"kills: {len(tags)} calls, {dict(outcomes)}, run twice: {len(twice)}")
    for (role, length), seconds in sorted(slowest.items()):
        print(f"  {role:9} {length:7} slowest {seconds:.2f} s")
    return wrong + [f"run twice: {tag}" for tag in twice]


async def rolling(team: Team, log: Path, calls: int) -> list[str]:
    """Restart one instance after the other while our clients call, of servers of both kinds."""
    failed: list[str] = []
    made = restarts = 0
    is_over = anyio.Event()
    config = HttpConfig(server_name="gateway", url=team.url, protocol="handshake", session=QUICK)

    async def use(number: int) -> None:
        nonlocal made
        async with MCPClientSessionManager(catalog=Catalog(log.parent / "catalog")) as manager:
            async with manager.open_session(config) as session:
                while made < calls or restarts < 2:
                    made += 1
                    server, tag = "owned" if made % 4 == 0 else "web", f"rolled-{number}-{made}"
                    seconds = 0.3 if made % 10 == 0 else 0.01
                    given = {"seconds": seconds, "tag": tag, "id": tag}
                    try:
                        result = await session.call_tool("call_tool", {"tool": f"{server}.pause", "arguments": given})
                        assert tag in result.text, result.text
                    except Exception as error:
                        failed.append(f"{server} {tag}: {type(error).__name__}: {error!s:.300}")

    async def restart() -> None:
        nonlocal restarts
        while not is_over.is_set():
            instance = team.instances[restarts % 2]
            instance.signal(signal.SIGTERM)
            await instance.ended()
            await instance.start()
            # Until HAProxy has noticed.
            await anyio.sleep(1)
            restarts += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(restart)
        async with anyio.create_task_group() as users:
            for number in range(8):
                users.start_soon(use, number)
        is_over.set()
    runs = Counter(line.split()[-1] for line in log.read_text().splitlines() if line.startswith("run "))
    twice = [tag for tag, count in runs.items() if tag.startswith("rolled") and count > 1]
    print(f"rolling: {made} calls over {restarts} restarts, {len(failed)} failed, {len(twice)} run twice")
    return failed + [f"run twice: {tag}" for tag in twice]


async def heard(team: Team, folder: Path, count: int) -> list[str]:
    """Kill an instance again and again; after each kill, a change is told."""
    changes = 0

    async def listen(told: AsyncIterator[object]) -> None:
        nonlocal changes
        async for _ in told:
            changes += 1

    wrong: list[str] = []
    catalog = Catalog(folder / "catalog of clients")
    config = HttpConfig(server_name="gateway", url=team.url, protocol="handshake", session=QUICK)
    async with (
        MCPClientSessionManager(catalog=catalog) as manager,
        manager.open_session(config) as session,
        AsyncExitStack() as stack,
        anyio.create_task_group() as tasks,
    ):
        with anyio.fail_after(60):
            while "add_tool" not in [tool.name for tool in (await session.list_tools()).tools]:
                await anyio.sleep(0.1)
        told = await stack.enter_async_context(session.listen(tools_list_changed=True))
        tasks.start_soon(listen, told)
        for number in range(count):
            victim = team.instances[number % 2]
            await victim.kill()
            await victim.start()
            await anyio.sleep(1.5)
            before = changes
            async with MCPClientSessionManager(catalog=catalog) as others:
                async with others.open_session(config.model_copy(update={"server_name": f"other{number}"})) as other:
                    await other.call_tool("add_tool", {"name": f"late{number}"})
                    # Its server is asked for the new listing; then it may go.
                    with anyio.move_on_after(15):
                        while changes == before:
                            await anyio.sleep(0.02)
            if changes == before:
                wrong.append(f"after kill {number + 1}, a change was not heard of")
        print(f"heard: after {count - len(wrong)} of {count} kills")
        tasks.cancel_scope.cancel()
    return wrong


async def cycles(team: Team, store: str, ports: Sequence[int], count: int) -> list[str]:
    """Open sessions, use and end them; one of ten uses a process."""

    async def cycle(http: httpx2.AsyncClient, number: int) -> None:
        session = Session(http)
        await session.begin(team.url)
        text = await session.call(team.url, "counted.mark", user=f"c{number}", tag=f"c{number}", seconds=0)
        assert f"c{number} of c{number}" in text, text
        if number % 10 == 0:
            text = await session.call(team.url, "process.mark", user=f"c{number}", tag=f"p{number}", seconds=0)
            assert f"p{number} of c{number}" in text, text
        answer = await http.delete(team.url, headers=session.headers)
        assert answer.status_code == 200, answer.text

    async def several(numbers: range) -> None:
        limiter = anyio.CapacityLimiter(8)

        async def one(number: int) -> None:
            async with limiter:
                await cycle(http, number)

        async with httpx2.AsyncClient(timeout=60) as http, anyio.create_task_group() as tasks:
            for number in numbers:
                tasks.start_soon(one, number)

    warm = max(20, count // 20)
    await several(range(warm))
    before = await _settled(team)
    await several(range(warm, warm + count))
    wrong: list[str] = []
    with anyio.move_on_after(15):
        while behind():
            await anyio.sleep(0.1)
    after = await _settled(team)
    left = sum([int((await get(port, "/sessions"))[1]) for port in ports])
    keys = await _session_keys(store)
    print(f"cycles: {count}; left: {len(behind())} processes, {left} sessions at the server, {keys} sessions stored")
    for instance, was, now in zip(team.instances, before, after, strict=True):
        print(f"  {instance.name}: descriptors {was[0]} to {now[0]}, threads {was[1]} to {now[1]}, "
              f"{was[2] / 1e6:.0f} to {now[2] / 1e6:.0f} MB")  # fmt: skip
        if now[0] > was[0] + 3 or now[1] > was[1]:
            wrong.append(f"{instance.name} has more descriptors or threads than before: {was} to {now}")
        if now[2] > was[2] * 1.2:
            wrong.append(f"{instance.name} has grown from {was[2] / 1e6:.0f} to {now[2] / 1e6:.0f} MB")
    if behind() or left or keys:
        wrong.append(f"left: {len(behind())} processes, {left} sessions at the server, {keys} sessions stored")
    return wrong


async def _settled(team: Team) -> list[tuple[int, int, int]]:
    """Descriptors, threads and memory, once connections that are not used any more are closed."""
    await anyio.sleep(6)
    processes = [psutil.Process(instance.pid) for instance in team.instances]
    return [(one.num_fds(), one.num_threads(), one.memory_info().rss) for one in processes]


async def _session_keys(store: str) -> int:
    if store.startswith("redis"):
        from redis.asyncio import Redis

        async with Redis.from_url(store) as redis:
            return len([key async for key in redis.scan_iter("*:m")])
    import asyncpg

    connection = await asyncpg.connect(store)
    try:
        return int(await connection.fetchval("select count(*) from jackfield.sessions where expires_at > now()"))
    finally:
        await connection.close()


@asynccontextmanager
async def place(
    folder: Path, kind: str, python: str, *options: str
) -> AsyncGenerator[tuple[Team, str, Path, list[int]]]:
    """Two instances behind HAProxy, in front of servers of both kinds; with the store, the log, and ports."""
    folder.mkdir()
    log, command = folder / "log", Command(folder / "command")
    command.python = python
    chatty = [quick_python(), str(SERVERS / "chatty.py")]
    env = {MARK: TOKEN}
    async with running_store(kind) as store:
        with ExitStack() as stack:
            counted, web_log = free_port(), folder / "web.log"
            counting = [str(SERVERS / "counted.py"), str(folder / "marks")]
            line = [PYTHON, "-S", *counting, str(counted)]
            process = stack.enter_context(running(line, folder / "counted.log", {}))
            await until_listens(counted, process, folder / "counted.log")
            stack.enter_context(running([*chatty, "http", "--log", str(log)], web_log, {}))
            with anyio.fail_after(30):
                while (found := re.search(r"LISTENING (\S+)", web_log.read_text())) is None:
                    await anyio.sleep(0.05)
            owned = [*chatty[1:], "stdio", "--log", str(log)]
            command.configure_user(
                web={"type": "http", "url": found[1], "protocol": "handshake"},
                owned={"command": chatty[0], "args": owned, "env": env, "protocol": "handshake"},
                counted={"type": "http", "url": f"http://127.0.0.1:{counted}/mcp"},
                process={
                    "command": PYTHON,
                    "args": ["-S", str(SERVERS / "counted.py"), str(folder / "marks")],
                    "env": env,
                },
                all=everything(),
            )
            options = (*options, "--reconnect-timeout", "30", "--stop-delay", "2", "--drain-timeout", "10")
            async with running_team(command, folder / "team", store, *options) as team:
                if "--all-tools" not in options:
                    await _warm(team)
                yield team, store, log, [counted]


async def _warm(team: Team) -> None:
    """What a first call takes is in memory, and the catalog knows all servers."""
    async with httpx2.AsyncClient(timeout=60) as http:
        for instance in team.instances:
            session = Session(http)
            await session.begin(instance.url)
            for name in ("web.recall", "owned.recall", "all.echo"):
                assert '"result"' in await session.call(instance.url, name)
            for name in ("counted.mark", "process.mark"):
                assert "w of w" in await session.call(instance.url, name, user="w", tag="w", seconds=0)
            await http.delete(instance.url, headers=session.headers)


async def run(
    folder: Path,
    kind: str,
    *,
    only: str | None = None,
    each: int = 0,
    calls: int = 0,
    kill: int = 0,
    cycle: int = 0,
    late: float = TIMER_SECONDS,
    python: str = PYTHON,
) -> list[str]:
    """Run what is asked for, with the gateway in `python`; what is wrong, in words."""
    wrong: list[str] = []
    async with place(folder / "two tools", kind, python) as (team, store, log, ports):
        rows: dict[str, Callable[[], Awaitable[list[str]]]] = {
            "kills": lambda: kills(team, log, each, late),
            "rolling": lambda: rolling(team, log, calls),
            "cycles": lambda: cycles(team, store, ports, cycle),
        }
        for name, row in rows.items():
            if only in (None, name):
                wrong += [f"{name}: {text}" for text in await row()]
    if only in (None, "heard"):
        async with place(folder / "all tools", kind, python, "--all-tools") as (team, _, log, _):
            wrong += [f"heard: {text}" for text in await heard(team, log.parent, kill)]
    return wrong


def main() -> int:
    """Run it as asked for; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("redis", "postgres"), default="redis")
    parser.add_argument("--only", choices=("kills", "rolling", "heard", "cycles"))
    for name, value in (("each", 20), ("calls", 2000), ("kills", 5), ("cycles", 10_000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()

    async def all_rows(folder: str) -> list[str]:
        return await run(
            Path(folder),
            given.store,
            only=given.only,
            each=given.each,
            calls=given.calls,
            kill=given.kills,
            cycle=given.cycles,
        )

    with tempfile.TemporaryDirectory() as folder:
        wrong = anyio.run(all_rows, folder)
    for line in wrong[:30]:
        print("WRONG:", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
