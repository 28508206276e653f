"""Users call servers behind two instances of a gateway, through HAProxy, while instances are killed; as a program: all.

Each user has a token, a session, and calls each server in turn: most over HTTP, some over stdio. Every call has a tag
that its server writes down with the user. A call that an instance took with it is an error, and is not made again.

    python -m tests.gateway.matrix [--store redis|postgres] [--users 100] [--servers 10] [--calls 10] [--kills 6]
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2
import psutil
from tests.cli.conftest import PYTHON, Command
from tests.conftest import MARK, SERVERS, TOKEN
from tests.gateway.conftest import behind
from tests.gateway.several import Team, running_team
from tests.gateway.test_http_sessions import RawClient
from tests.serving.cluster.cluster import free_port, get, running, running_store, until_listens

ANSWER_SECONDS = 3.5
"""A call whose instance died ends in an error within so long. How long others take is for this machine to say."""

LEFT_SECONDS = 30.0
"""By then, the instances have ended what killed ones had at servers over HTTP."""

DOWN_SECONDS = 1.0
CALL_SECONDS = 0.02
AT_ONCE = 20
PROCESSES = 5
"""Every so many-th server is a process for each user."""


@dataclass
class Seen:
    """What became of all calls."""

    answered: dict[str, str] = field(default_factory=dict[str, str])
    """The user of each call that was answered."""
    failed: list[str] = field(default_factory=list[str])
    made: int = 0
    lost: int = 0
    """Answers that say that state was lost."""
    slowest: float = 0.0
    slowest_failure: tuple[float, str] = (0.0, "")
    """Seconds since the kill, and the answer."""
    unheard: int = 0
    """Sessions that may have been opened, and whose ids no client got to know."""
    wrong: list[str] = field(default_factory=list[str])


class Matrix:
    """The users, and what they are told.

    Args:
        team: The gateway.
        servers: Their names.
        calls: How many each user makes.
    """

    def __init__(self, team: Team, servers: Sequence[str], calls: int) -> None:
        self.team = team
        self.seen = Seen()
        self.killed_at = 0.0
        self._servers = servers
        self._calls = calls

    async def user(self, name: str, token: str) -> None:
        """One user's session, from beginning to end."""
        async with httpx2.AsyncClient(timeout=60) as http:
            client = RawClient(http, self.team.url)
            client.headers["Authorization"] = f"Bearer {token}"
            await self._until(client.begin, is_opening=True)
            for number in range(self._calls):
                await self._call(client, name, self._servers[(number + int(name[1:])) % len(self._servers)], number)
            await self._until(lambda: self._end(client))

    async def _until(self, made: object, *, is_opening: bool = False) -> None:
        """What no call depends on is tried until an instance takes it."""
        with anyio.fail_after(60):
            while True:
                try:
                    await made()  # type: ignore[operator]
                except (httpx2.TransportError, KeyError):
                    self.seen.unheard += is_opening
                    await anyio.sleep(0.1)
                else:
                    return

    async def _end(self, client: RawClient) -> None:
        answer = await client.http.delete(client.url, headers=client.headers)
        if answer.status_code not in (200, 404):
            raise KeyError(answer.status_code)

    async def _call(self, client: RawClient, user: str, server: str, number: int) -> None:
        tag, seen = f"{user}-{number}", self.seen
        seen.made += 1
        given = {"tool": f"{server}.mark", "arguments": {"user": user, "tag": tag, "seconds": CALL_SECONDS}}
        began = time.monotonic()
        try:
            response = await client.post("tools/call", name="call_tool", arguments=given)
            text = response.text
        except httpx2.TransportError as error:
            text = repr(error)
        seconds = time.monotonic() - began
        seen.slowest = max(seen.slowest, seconds)
        seen.lost += "was lost" in text
        if f"{tag} of {user}" in text:
            seen.answered[tag] = user
        elif " of u" in text:
            seen.wrong.append(text)
        else:
            seen.failed.append(f"{tag}: {text[:300]}")
            waited = min(seconds, time.monotonic() - self.killed_at)
            seen.slowest_failure = max(seen.slowest_failure, (waited, f"{server} {tag}: {text[:300]}"))


def tokens_file(folder: Path, users: Sequence[str]) -> tuple[Path, list[str]]:
    """A token for each user."""
    tokens = [secrets.token_hex(16) for _ in users]
    file = folder / "tokens.toml"
    lines = [
        f'[[tokens]]\nsubject = "{user}"\ntoken = "{token}"\nscopes = ["servers:*"]\n'
        for user, token in zip(users, tokens, strict=True)
    ]
    file.touch(0o600)
    file.write_text("\n".join(lines))
    return file, tokens


async def run(
    folder: Path, kind: str, *, users: int, servers: int, calls: int, kills: int, python: str = PYTHON
) -> list[str]:
    """Run it; what is wrong, in words.

    Args:
        folder: For all files.
        kind: Of the store.
        users: How many.
        servers: How many.
        calls: Of each user.
        kills: How often an instance is killed.
        python: What runs the gateway.
    """
    names = [f"s{number}" for number in range(servers)]
    people = [f"u{number}" for number in range(users)]
    log, wrong = folder / "calls.log", list[str]()
    command = Command(folder / "command")
    command.python = python
    file, tokens = tokens_file(folder, people)
    async with running_store(kind) as store:
        with ExitStack() as stack:
            entries: dict[str, dict[str, object]] = {}
            ports: list[int] = []
            for number, name in enumerate(names):
                if number % PROCESSES == 0:
                    line = ["-S", str(SERVERS / "counted.py"), str(log)]
                    entries[name] = {"command": PYTHON, "args": line, "env": {MARK: TOKEN}}
                    continue
                ports.append(port := free_port())
                line = [PYTHON, "-S", str(SERVERS / "counted.py"), str(log), str(port)]
                process = stack.enter_context(running(line, folder / f"{name}.log", {}))
                await until_listens(port, process, folder / f"{name}.log")
                entries[name] = {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"}
            command.configure_user(**entries)
            options = ("--token-file", str(file), "--reconnect-timeout", "30")
            async with running_team(command, folder / "team", store, *options) as team:
                matrix = Matrix(team, names, calls)
                # So that the catalogs are full, and what a first call takes is in memory.
                await matrix.user(people[0], tokens[0])
                warm = [_memory(instance.pid) for instance in team.instances]
                limiter = anyio.CapacityLimiter(AT_ONCE)

                async def user(name: str, token: str) -> None:
                    async with limiter:
                        await matrix.user(name, token)

                async with anyio.create_task_group() as tasks:
                    for name, token in zip(people[1:], tokens[1:], strict=True):
                        tasks.start_soon(user, name, token)
                    for number in range(kills):
                        share = (number + 1) * users * calls / (kills + 1)
                        while matrix.seen.made < share:
                            await anyio.sleep(0.02)
                        victim = team.instances[number % len(team.instances)]
                        matrix.killed_at = time.monotonic()
                        await victim.kill()
                        # A port that listens again before HAProxy has noticed would be sent requests while it starts.
                        await anyio.sleep(DOWN_SECONDS)
                        await victim.start()
                wrong += _judged(matrix.seen, log, kills)
                wrong += await _left(team, ports, store, warm, matrix.seen.unheard, kills)
    return wrong


def _memory(pid: int) -> int:
    return psutil.Process(pid).memory_info().rss


def _judged(seen: Seen, log: Path, kills: int) -> list[str]:
    lines = [line.split() for line in log.read_text().splitlines()]
    runs = Counter(tag for tag, _, _ in lines)
    wrong = [f"run {count} times: {tag}" for tag, count in runs.items() if count > 1]
    wrong += [f"a process or session of another user: {line}" for line in lines if line[2] == "foreign"]
    wrong += [f"answered but not run: {tag}" for tag in seen.answered if tag not in runs]
    wrong += [f"an answer of another call: {text}" for text in seen.wrong]
    seconds, slowest = seen.slowest_failure
    if seconds > ANSWER_SECONDS:
        wrong.append(f"the slowest error took {seconds:.1f} s: {slowest}")
    print(
        f"{seen.made} calls: {len(seen.answered)} answered, {len(seen.failed)} failed with {kills} kills, {seen.lost} "
        f"told of lost state, slowest error {seconds:.2f} s, slowest answer {seen.slowest:.2f} s; "
        f"run twice: {sum(count > 1 for count in runs.values())}, "
        f"foreign: {sum(line[2] == 'foreign' for line in lines)}"
    )
    for text in seen.failed[:5]:
        print("  failed, such as:", text)
    return wrong


async def _left(
    team: Team, ports: Sequence[int], store: str, warm: Sequence[int], unheard: int, kills: int
) -> list[str]:
    """What is left although all sessions were ended, but for those whose clients did not get to know of them.

    Those expire by themselves, as all keys do.
    """
    wrong: list[str] = []
    with anyio.move_on_after(15):
        while behind():
            await anyio.sleep(0.2)
    if children := behind():
        wrong.append(f"{len(children)} processes of servers are left")
    sessions = 0
    with anyio.move_on_after(LEFT_SECONDS):
        while sessions := sum([int((await get(port, "/sessions"))[1]) for port in ports]):
            await anyio.sleep(0.2)
    print(f"left: {len(children)} processes, {sessions} sessions at servers over HTTP")
    # One that was being opened when its instance was killed is known to nobody else.
    if sessions > kills * AT_ONCE:
        wrong.append(f"{sessions} sessions are left at servers over HTTP")
    if store.startswith("redis"):
        from redis.asyncio import Redis

        async with Redis.from_url(store) as redis:
            # Logs of answers live for five minutes more, so that their clients can come back for them.
            keys = [key.decode() async for key in redis.scan_iter("*")]
            left = [key for key in keys if key.endswith((":m", ":r", ":v", ":t", ":get"))]
            lasting = [key for key in keys if await redis.pttl(key) == -1]
        print(f"left: {len(left)} keys of sessions of {len(keys)} keys, {len(lasting)} without an end")
        if len({key[: key.rindex("}")] for key in left}) > unheard:
            wrong.append(f"keys are left: {left[:5]}")
        if lasting:
            wrong.append(f"keys never expire: {lasting[:5]}")
    else:
        import asyncpg

        # No row of a table is without an end, or it goes with one that has an end.
        connection = await asyncpg.connect(store)
        try:
            rows = await connection.fetchval("select count(*) from jackfield.sessions where expires_at > now()")
        finally:
            await connection.close()
        print(f"left: {rows} sessions in the database")
        if rows > unheard:
            wrong.append(f"{rows} sessions are left in the database")
    for instance, before in zip(team.instances, warm, strict=True):
        now = _memory(instance.pid)
        print(f"{instance.name}: {now / 1e6:.0f} MB, after one user {before / 1e6:.0f} MB")
        if now > before * 1.2:
            wrong.append(f"{instance.name} has grown from {before / 1e6:.0f} to {now / 1e6:.0f} MB")
    return wrong


def main() -> int:
    """Run it as asked for; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("redis", "postgres"), default="redis")
    for name, value in (("users", 100), ("servers", 10), ("calls", 10), ("kills", 6)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wrong = anyio.run(_run_in, Path(name), json.dumps(vars(given)))
    for line in wrong[:20]:
        print("WRONG:", line)
    return 1 if wrong else 0


async def _run_in(folder: Path, options: str) -> list[str]:
    given = json.loads(options)
    return await run(folder, given.pop("store"), **given)


if __name__ == "__main__":
    sys.exit(main())
