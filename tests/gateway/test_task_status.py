"""The status of a task reaches the client that listens for it on its stream of changes, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import MCPError
from mcp.types import CLIENT_CAPABILITIES_META_KEY
from tests.cli.conftest import Command
from tests.gateway.conftest import stdio_config
from tests.gateway.in_process import gateway_of
from tests.gateway.test_extensions import entry_of
from tests.relayed import Chatty, Client, call, opened
from tests.reliability.scenario import settled
from tests.servers.chatty import TASKS

from jackfield import Session
from jackfield.session.relay import relay
from jackfield.session.session import caller_of
from jackfield.session.task_status import TaskNotToldError, task_statuses

KNOWS: Mapping[str, Any] = {CLIENT_CAPABILITIES_META_KEY: {"extensions": {TASKS: {}}}}


class Host(Client):
    """A client that knows of tasks, and what it heard of them on its streams."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = KNOWS[CLIENT_CAPABILITIES_META_KEY]
        self.heard: list[dict[str, Any]] = []
        self.streams = 0

    async def listen(self, session: Session, task_id: str, envelope: Mapping[str, Any] = KNOWS) -> None:
        def began() -> None:
            self.streams += 1

        def updated(params: Mapping[str, Any]) -> None:
            self.heard.append({key: value for key, value in params.items() if key != "_meta"})

        await task_statuses(caller_of(session), task_id, envelope, began=began, updated=updated)


async def begin(session: Session, task_id: str) -> str:
    params = {"name": "begin", "arguments": {"id": task_id}}
    return (await relay(caller_of(session), "tools/call", params)).result["taskId"]


@pytest.mark.parametrize("line", ["http modern", "stdio modern"])
async def test_only_who_listens_hears_of_a_task(line: str, chatty: Chatty, tmp_path: Path) -> None:
    """Also on a connection of the gateway's that serves several clients."""
    hosts = ann, bob, eve = Host(), Host(), Host()
    async with gateway_of(tmp_path, [chatty(line)]) as here, AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(opened(here.config("modern"), host)) for host in hosts]
        ids = [await begin(session, task_id) for session, task_id in zip(sessions, "123", strict=True)]
        assert ids == ["chatty.1", "chatty.2", "chatty.3"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ann.listen, sessions[0], ids[0])
            tasks.start_soon(bob.listen, sessions[1], ids[1])
            assert await settled(lambda: ann.streams == bob.streams == 1)
            assert await call(sessions[2], "finish", {"id": "3"}) == 0
            assert await call(sessions[2], "finish", {"id": "1"}) == 1
            assert await settled(lambda: ann.heard != [])
            result = {"content": [], "own": None}
            status = {"taskId": "chatty.1", "status": "completed", "result": result, "own": [1.0]}
            assert (ann.heard, bob.heard) == ([status], [])
            assert await call(sessions[0], "finish", {"id": "2"}) == 1
            assert await settled(lambda: bob.heard != [])
            tasks.cancel_scope.cancel()
        assert not any(host.of_kind("notifications/tasks") for host in hosts)
        log = tmp_path / "log"
        assert await settled(lambda: sum("deaf" in line for line in log.read_text().splitlines()) == 2)
        assert (len(ann.heard), len(bob.heard), len(eve.heard)) == (1, 1, 0)


async def test_a_client_over_stdio_hears_of_its_tasks(chatty: Chatty, jackfield: Command) -> None:
    jackfield.configure_user(chatty=entry_of(chatty("stdio modern")))
    host = Host()
    async with opened(stdio_config(jackfield, "--all-tools", protocol="auto"), host) as session:
        task_id = await begin(session, "1")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.listen, session, task_id)
            assert await settled(lambda: host.streams == 1)
            await call(session, "finish", {"id": "1"})
            assert await settled(lambda: [task["taskId"] for task in host.heard] == [task_id])
            tasks.cancel_scope.cancel()


async def test_who_is_not_told(chatty: Chatty, tmp_path: Path) -> None:
    """Nobody is told of a task that there is not, or of one whose server has no such streams."""
    async with gateway_of(tmp_path, [chatty("http modern"), chatty("http handshake", "older")]) as here:
        async with opened(here.config("modern"), host := Host()) as session:
            with pytest.raises(MCPError) as caught:
                await host.listen(session, "chatty.1", {CLIENT_CAPABILITIES_META_KEY: {}})
            assert caught.value.code == -32021
            assert caught.value.error.data == {"requiredCapabilities": {"extensions": {TASKS: {}}}}
            for unknown in ("chatty.none", "older.1", "other.1", "1"):
                with pytest.raises(TaskNotToldError):
                    await host.listen(session, unknown)
    assert host.streams == 0
