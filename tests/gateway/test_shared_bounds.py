"""What a user may use holds over all instances of a gateway, and what a dead one used is free again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import TaskStatus
from tests.cli.conftest import Command
from tests.conftest import strays
from tests.gateway.conftest import unruly_entry
from tests.gateway.test_instances import child_of, team_on
from tests.serving.authorized import Client, answer_of

from jackfield.auth.token_file import add_token


def refusal(answer: httpx2.Response) -> tuple[int, str]:
    """The status, and the name of the bound."""
    found = re.search(r"\(`(\w+)` is \d+\)", answer.text)
    return answer.status_code, found[1] if found else answer.text


@pytest.mark.parametrize("kind", [pytest.param("redis", marks=pytest.mark.whole), "postgres"])
async def test_calls_of_a_user_are_counted_at_all_instances(kind: str, jackfield: Command, tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "tokens"
    jackfield.configure_user(one=unruly_entry("--log", str(log)))
    tokens = {user: add_token(file, user, scopes=["servers:*"]).token for user in ("ann", "bob")}
    bounds = ("--max-calls-per-user", "2", "--calls-per-minute", "8")
    async with (
        team_on(kind, jackfield, tmp_path, "--all-tools", "--token-file", str(file), *bounds) as team,
        httpx2.AsyncClient(timeout=60) as http,
        anyio.create_task_group() as tasks,
    ):
        first, second = (one.url for one in team.instances)
        ann, bob = (Client(http, tokens[user]) for user in ("ann", "bob"))
        await ann.initialize(first)
        await bob.initialize(second)
        numbers = iter(range(10, 1000))

        async def call(client: Client, url: str, tool: str = "count", **arguments: Any) -> httpx2.Response:
            given = {"name": tool, "arguments": arguments}
            return await client.request(url, "tools/call", given, number=next(numbers))

        async def until_run(count: int) -> None:
            with anyio.fail_after(30):
                while not log.exists() or log.read_text().splitlines().count("run sleep") < count:
                    await anyio.sleep(0.01)

        async def sleep(url: str) -> None:
            try:
                await call(ann, url, "sleep", seconds=60)
            except httpx2.TransportError:
                assert url == second, "the one that is killed"

        tasks.start_soon(sleep, first)
        await until_run(1)
        # Her share of the bound was as large as the bound, and she has used half of it.
        tasks.start_soon(sleep, second)
        await until_run(2)
        for url in (first, second):
            assert refusal(await call(ann, url)) == (429, "calls_per_user")
            given = {"name": "count", "arguments": {}}
            assert refusal(await ann.modern(url, "tools/call", given)) == (429, "calls_per_user")
        # Others may, and whichever instance answers: the next one may not run into what the last one left behind.
        for number in range(8):
            answer = await call(bob, (first, second)[number % 2])
            assert answer_of(answer.text)["result"]["content"][0]["text"] == str(number + 1)
        for url in (first, second):
            answer = await call(bob, url)
            assert refusal(answer) == (429, "calls_per_minute")
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        # What an instance had that is dead does not count any more.
        await team.instances[1].kill()
        with anyio.fail_after(5):
            while (answer := await call(ann, first)).status_code == 429:
                assert refusal(answer) == (429, "calls_per_user")
        # The calls that were refused did not reach the server.
        assert answer_of(answer.text)["result"]["content"][0]["text"] == "3"
        tasks.cancel_scope.cancel()
    assert not strays()


async def test_children_of_a_user_are_counted_at_all_instances(jackfield: Command, tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "tokens"
    jackfield.configure_user(one=unruly_entry("--log", str(log)))
    tokens = {user: add_token(file, user, scopes=["servers:*"]).token for user in ("ann", "bob")}
    options = ("--all-tools", "--token-file", str(file), "--max-children-per-user", "1")
    async with (
        team_on("redis", jackfield, tmp_path, *options) as team,
        httpx2.AsyncClient(timeout=60) as http,
        anyio.create_task_group() as tasks,
    ):
        first, second = team.instances
        here, there, bob = (Client(http, tokens[user]) for user in ("ann", "ann", "bob"))

        async def call(client: Client, url: str, tool: str = "count", **arguments: Any) -> str:
            answer = await client.request(url, "tools/call", {"name": tool, "arguments": arguments})
            assert answer.status_code == 200, answer.text
            result = answer_of(answer.text)["result"]
            return "\n".join(block["text"] for block in result["content"])

        async def sleep(*, task_status: TaskStatus[anyio.CancelScope]) -> None:
            with anyio.CancelScope() as scope:
                task_status.started(scope)
                await call(here, first.url, "sleep", seconds=60)

        for client, instance in ((here, first), (there, second), (bob, second)):
            await client.initialize(instance.url)
        assert await call(here, first.url) == "1"
        # The child that is not in use makes room for one at another instance; who had it is told.
        assert await call(there, second.url) == "1"
        assert (len(child_of(first)), len(child_of(second))) == (0, 1)
        again = await call(here, first.url)
        assert "was lost" in again
        assert (len(child_of(first)), len(child_of(second))) == (1, 0)
        running = await tasks.start(sleep)
        with anyio.fail_after(30):
            while "run sleep" not in log.read_text():
                await anyio.sleep(0.01)
        assert "`children_per_user` is 1" in await call(there, second.url)
        assert await call(bob, second.url) == "1"
        # Nothing is in the way of others when an instance is killed.
        running.cancel()
        await first.kill()
        with anyio.fail_after(10):
            while "`children_per_user` is 1" in (answer := await call(there, second.url)):
                await anyio.sleep(0.05)
        assert "1" in answer
    assert not strays()
