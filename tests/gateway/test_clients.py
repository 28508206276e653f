"""What servers see of a client, and which sessions with them clients have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import httpx2
import pytest
from tests.conftest import Scripted, Unruly
from tests.gateway.conftest import behind
from tests.gateway.in_process import Here, gateway_of
from tests.gateway.test_http_sessions import RawClient
from tests.relayed import Chatty, Client, call, opened

from jackfield import SessionConfig

ODD = {"sampling": {"own": 1}, "own": {"a": None}, "elicitation": {}}


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_capabilities_reach_a_server_as_they_came(era: str, chatty: Chatty, tmp_path: Path) -> None:
    line = "stdio handshake" if era == "handshake" else "http modern"
    async with gateway_of(tmp_path, [chatty(line)]) as here:
        for capabilities in (ODD, {}):
            client = Client()
            client.capabilities = capabilities
            async with opened(here.config(era), client) as session:
                await session.list_tools()
                assert await call(session, "capabilities") == capabilities


def connections(scripted: Scripted) -> int:
    """How many were opened to a server of the newer protocol."""
    return scripted.asked.count("server/discover")


async def test_clients_without_sessions_share_a_connection_to_a_server_without_any(
    scripted: Scripted, tmp_path: Path
) -> None:
    server = scripted({"tools/call": "params"}, line="http modern")
    async with gateway_of(tmp_path, [server], with_users=True) as here:
        ann, bob = [here.config("modern", user=user) for user in ("ann", "bob")]
        async with opened(ann, Client()) as one, opened(ann, Client()) as other, opened(bob, Client()) as of_bob:
            await one.list_tools()
            await call(one, "work")
            before = connections(scripted)
            for _ in range(3):
                await call(one, "work")
                await call(other, "work")
            assert connections(scripted) == before
            # Users do not share, nor do requests whose log messages would have to be told apart.
            await call(of_bob, "work")
            await call(of_bob, "work")
            assert connections(scripted) == before + 1


@pytest.mark.parametrize("era", ["modern", "handshake"])
async def test_a_process_is_shared_if_its_server_knows_no_sessions(era: str, chatty: Chatty, tmp_path: Path) -> None:
    async with gateway_of(tmp_path, [chatty(f"stdio {era}")], with_users=True) as here:
        ann, bob = [here.config("modern", user=user) for user in ("ann", "bob")]
        async with opened(ann, Client()) as one, opened(ann, Client()) as other, opened(bob, Client()) as of_bob:
            await one.list_tools()
            processes = [await call(session, "process") for session in (one, other, of_bob)]
            assert (processes[0] == processes[1]) == (era == "modern")
            # No two users share one.
            assert processes[2] not in processes[:2]
            with anyio.fail_after(20):
                while len(behind()) != (2 if era == "modern" else 0):
                    await anyio.sleep(0.01)


async def test_a_shared_process_that_is_idle_or_lost_is_no_loss_of_state(chatty: Chatty, tmp_path: Path) -> None:
    async with gateway_of(tmp_path, [chatty("stdio modern", session={"idle_timeout": 0.2})]) as here:
        async with opened(here.config("modern"), Client()) as session:
            await session.list_tools()
            await call(session, "process")
            with anyio.fail_after(20):
                while behind():
                    await anyio.sleep(0.01)
            after = await session.call_tool("process")
            lost = await session.call_tool("end")
            again = await session.call_tool("process")
    assert (after.is_error, lost.is_error, again.is_error) == (False, True, False)
    assert "lost" in lost.text
    assert "Note:" not in after.text + again.text


async def test_sessions_that_end_at_work_leave_no_client(chatty: Chatty, tmp_path: Path) -> None:
    async with gateway_of(tmp_path, [chatty("stdio handshake")]) as here:
        async with opened(here.config("handshake"), Client()) as lists:
            await lists.list_tools()
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        async with httpx2.AsyncClient(timeout=30, headers=headers) as http:

            async def post(session: dict[str, str], number: int, method: str, params: object) -> httpx2.Response:
                body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
                return await http.post(here.url, json=body, headers=session)

            async def end(session: dict[str, str]) -> None:
                await http.delete(here.url, headers=session)

            for _ in range(10):
                begun = await post({}, 0, "initialize", about)
                session = {"Mcp-Session-Id": begun.headers["mcp-session-id"]}
                async with anyio.create_task_group() as tasks:
                    for number in range(1, 6):
                        tasks.start_soon(post, session, number, "tools/call", {"name": "recall"})
                    tasks.start_soon(end, session)
        with anyio.fail_after(20):
            while list(here.gateway.clients) or behind():
                await anyio.sleep(0.01)


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.01)


async def raw_client(here: Here, http: httpx2.AsyncClient) -> RawClient:
    client = RawClient(http, here.url)
    await client.begin()
    return client


def is_opening(here: Here) -> bool:
    """Whether a server is being opened for a client."""
    return any(info.state == "opening" and info.key is not None for info in here.gateway.manager.sessions())


@pytest.mark.parametrize("ends_by", ["DELETE", "its stream"])
async def test_a_session_that_ends_while_its_server_starts_leaves_no_process(
    ends_by: str, unruly: Unruly, tmp_path: Path
) -> None:
    server = unruly("--start-delay", "0.5")
    async with gateway_of(tmp_path, [server], reconnect_timeout=0.05) as here, httpx2.AsyncClient(timeout=30) as http:
        client = await raw_client(here, http)
        await client.post("tools/list")
        async with anyio.create_task_group() as tasks:
            async with client.stream():
                tasks.start_soon(lambda: client.post("tools/call", name="count"))
                await until(lambda: is_opening(here))
                if ends_by == "DELETE":
                    await http.delete(here.url, headers=client.headers)
            if ends_by == "its stream":
                tasks.cancel_scope.cancel()
        await until(lambda: not (list(here.gateway.clients) or here.gateway.manager.sessions() or behind()))


async def test_a_session_that_ends_while_its_call_waits_for_room_opens_nothing(unruly: Unruly, tmp_path: Path) -> None:
    server = unruly(session=SessionConfig(max_sessions=1))
    end = tmp_path / "end"
    async with gateway_of(tmp_path, [server]) as here, httpx2.AsyncClient(timeout=30) as http:
        holder, waiting = await raw_client(here, http), await raw_client(here, http)
        await holder.post("tools/list")
        answers: list[httpx2.Response] = []

        async def call() -> None:
            answers.append(await waiting.post("tools/call", name="count"))

        async with anyio.create_task_group() as tasks:
            arguments = {"seconds": 60, "until": str(end)}
            tasks.start_soon(lambda: holder.post("tools/call", name="sleep", arguments=arguments))
            await until(end.with_name("end.begun").exists)
            tasks.start_soon(call)
            await until(lambda: here.gateway.figures().live == 2)
            # As where another instance runs the client's request, which is cancelled there, a while later.
            here.gateway.clients.end(waiting.headers["Mcp-Session-Id"])
            end.touch()
        assert "The session was closed; nothing was sent." in answers[0].text
        await http.delete(here.url, headers=holder.headers)
        await until(lambda: not (list(here.gateway.clients) or here.gateway.manager.sessions() or behind()))
    assert [line for line in unruly.log if "count" in line] == []
