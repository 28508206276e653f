"""Several instances of one gateway, behind HAProxy: clients see one."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx2
import psutil
import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.cli.conftest import Command
from tests.conftest import MARK, SERVERS, TOKEN, Listening, Scripted, eventually, needs, quick_python, strays
from tests.gateway import matrix, rows
from tests.gateway.conftest import QUICK, behind, everything, unruly_entry
from tests.gateway.several import GatewayInstance, Team, running_team
from tests.gateway.test_extensions import entry_of, results
from tests.gateway.test_http_sessions import RawClient
from tests.gateway.test_parked import retry
from tests.gateway.test_stdio import call
from tests.relayed import Client, opened
from tests.serving.authorized import listening as serving
from tests.serving.cluster.cluster import missing, running_store

from jackfield import Catalog, HttpConfig, MCPClientSessionManager, RequestError, Session, SessionCallbacks
from jackfield.auth.token_file import add_token
from jackfield.gateway.instances.forward import FORWARD_PATH, Forwarded
from jackfield.gateway.instances.keys import InstanceKeys, read_keys
from jackfield.gateway.scopes import scope_of
from jackfield.serving import Principal, SessionRecord
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

NOTHING: Mapping[str, Any] = {}


@asynccontextmanager
async def team_on(kind: str, command: Command, folder: Path, *options: str) -> AsyncIterator[Team]:
    """Two instances on a store of their own."""
    needs(missing())
    async with running_store(kind) as store, running_team(command, folder / "team", store, *options) as team:
        yield team


@asynccontextmanager
async def raw(instance: GatewayInstance) -> AsyncIterator[RawClient]:
    """A client whose session an instance has opened."""
    async with httpx2.AsyncClient(timeout=60) as http:
        client = RawClient(http, instance.url)
        await client.begin()
        yield client


def child_of(instance: GatewayInstance) -> list[int]:
    """The servers that an instance has started."""
    return [pid for pid in behind() if psutil.Process(pid).ppid() == instance.pid]


@asynccontextmanager
async def shown_instances(instance: GatewayInstance) -> AsyncIterator[AsyncIterator[list[dict[str, Any]]]]:
    """The instances, as the page of one of them shows them, again and again."""
    [code] = re.findall(r"#code=(\S+)", instance.log.read_text())
    at, own = instance.url.removesuffix("mcp"), {"X-Jackfield-Page": "1"}
    async with httpx2.AsyncClient(timeout=30) as http:
        token = (await http.post(f"{at}page/sign-in", json={"code": code}, headers=own)).json()["token"]
        async with http.stream("GET", f"{at}page/events", headers={"Authorization": f"Bearer {token}"}) as events:

            async def all_shown() -> AsyncIterator[list[dict[str, Any]]]:
                async for line in events.aiter_lines():
                    changed = json.loads(line[6:])["changed"] if line.startswith("data: ") else {}
                    if "instances" in changed:
                        yield changed["instances"]

            yield all_shown()


async def until_shown(
    pages: AsyncIterator[list[dict[str, Any]]], is_so: Callable[[list[dict[str, Any]]], bool]
) -> list[dict[str, Any]]:
    with anyio.fail_after(30):
        async for members in pages:
            if is_so(members):
                return members
    raise AssertionError("the page shows nothing any more")


def _all_said(members: list[dict[str, Any]]) -> bool:
    """Whether each of two instances has said how it does, since the calls."""
    figures = [one["figures"] for one in members if one["figures"] is not None]
    return len(figures) == 2 and sum(one["calls"] for one in figures) >= 30 and all(one["clients"] for one in figures)


async def until_logged(log: Path, line: str) -> None:
    with anyio.fail_after(30):
        while not log.exists() or line not in log.read_text().splitlines():
            await anyio.sleep(0.005)


async def test_a_server_over_stdio_is_one_process_whichever_instance_is_asked(
    jackfield: Command, tmp_path: Path
) -> None:
    jackfield.configure_user(one=unruly_entry(), two=everything())
    asked: list[str] = []

    async def answer(_: object, params: Any) -> dict[str, Any]:
        asked.append(params.message)
        return {"action": "accept", "content": {"name": "Ada"}}

    async with team_on("redis", jackfield, tmp_path, "--web") as team:
        callbacks = SessionCallbacks(elicitation=answer)  # type: ignore[arg-type]
        async with MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog"), callbacks=callbacks) as manager:
            async with manager.open_session(team.config()) as session:
                counts = [(await call(session, "one.count")).text for _ in range(20)]
                assert counts == [str(number) for number in range(1, 21)]
                assert len(behind()) == 1
                # What it asks and tells meanwhile takes the same ways.
                assert [(await call(session, "two.ask_user")).text for _ in range(4)] == ["accept: Ada"] * 4
                assert len(asked) == 4
                log, seen = tmp_path / "slow", list[float]()

                async def progress(done: float, total: float | None, message: str | None) -> None:
                    seen.append(done)

                for _ in range(4):
                    await call(session, "two.steps", {"count": 3}, progress_callback=progress)
                assert seen == [1, 2, 3] * 4
                for number in range(2):
                    async with anyio.create_task_group() as tasks:
                        arguments = {"seconds": 60, "log": f"{log}{number}"}
                        tasks.start_soon(call, session, "two.slow", arguments)
                        with anyio.fail_after(30):
                            while not Path(f"{log}{number}.started").exists():
                                await anyio.sleep(0.01)
                        tasks.cancel_scope.cancel()
                    with anyio.fail_after(10):
                        while not Path(f"{log}{number}").exists():
                            await anyio.sleep(0.01)
                    assert Path(f"{log}{number}").read_text() == "cancelled"
                # The page of each says who has what, and how each does.
                first, second = team.instances
                async with shown_instances(first) as at_first, shown_instances(second) as at_second:
                    shown = [await until_shown(pages, _all_said) for pages in (at_first, at_second)]
                    owners = [{one["name"]: one["servers"] for one in members if one["owns"]} for members in shown]
                    assert owners[0] == owners[1]
                    assert sorted(name for servers in owners[0].values() for name in servers) == ["one", "two"]
                    assert all(members[0]["here"] and members[0]["url"] for members in shown)
                    assert [sum(one["figures"]["sessions"] for one in members) for members in shown] == [2, 2]
                    await second.kill()
                    await until_shown(at_first, lambda members: len(members) == 1)
        assert eventually(lambda: behind() == [], 10)
    assert not strays()


async def only_instances_forward(client: RawClient, owner: GatewayInstance, keys: InstanceKeys) -> None:
    """Try what others could send to the endpoint for instances; the session of a client is known."""
    text = (await client.call("sleep", seconds=0.3)).text
    found = re.search("id: ([0-9a-f]{16})", text)
    assert found
    session_id, own_url = client.headers["Mcp-Session-Id"], owner.url.removesuffix("/mcp") + FORWARD_PATH
    call = {"name": "call_tool", "arguments": {"tool": "one.echo", "arguments": {"text": "forwarded"}}}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    record = SessionRecord(session_id, hello, "2025-11-25")
    good = Forwarded(found[1], "one", record.to_json(), [], 99, "tools/call", call)

    async def sent(body: bytes, headers: dict[str, str]) -> int:
        answer = await client.http.post(own_url, content=body, headers=headers)
        assert ("forwarded" in answer.text) == (answer.status_code == 200)
        return answer.status_code

    body = good.to_json()
    signed = keys.signed(FORWARD_PATH, body)
    assert await sent(body, signed) == 200
    # Replayed; not signed; by another key; changed; too old.
    assert await sent(body, signed) == 401
    assert await sent(body, {}) == 401
    assert await sent(body, InstanceKeys([b"0" * 64]).signed(FORWARD_PATH, body)) == 401
    assert await sent(body + b" ", keys.signed(FORWARD_PATH, body)) == 401
    assert await sent(body, keys.signed("/mcp", body)) == 401
    with pytest.MonkeyPatch.context() as patch:
        a_minute_ago = time.time() - 60
        patch.setattr(time, "time", lambda: a_minute_ago)
        old = keys.signed(FORWARD_PATH, body)
    assert await sent(body, old) == 401
    # For another instance, of another user, of another server, of another session: not what this instance has.
    of_ann = replace(record, principal=Principal("issuer", "ann", "client"))
    for other in (
        replace(good, instance="0" * 16),
        replace(good, record=of_ann.to_json(), scopes=["servers:*"]),
        replace(good, server_name="two"),
        replace(good, record=replace(record, session_id="0" * 32).to_json()),
    ):
        assert await sent(other.to_json(), keys.signed(FORWARD_PATH, other.to_json())) == 409
    # As long as a client's own request may be, however many bytes its characters have.
    long = {"tool": "one.echo", "arguments": {"text": "forwarded" + "語" * 1_300_000}}
    body = replace(good, params={**call, "arguments": long}).to_json()
    assert await sent(body, keys.signed(FORWARD_PATH, body)) == 200
    assert (await client.http.get(own_url)).status_code == 404
    await in_pieces(owner, keys, good.to_json())


def memory_of(instance: GatewayInstance) -> int:
    return psutil.Process(instance.pid).memory_info().rss


async def in_pieces(owner: GatewayInstance, keys: InstanceKeys, body: bytes) -> None:
    """What else may come by a connection, which other requests use, too."""

    def head(length: int | str) -> bytes:
        signed = keys.signed(FORWARD_PATH, body)
        lines = [f"POST {FORWARD_PATH} HTTP/1.1", "host: i", f"content-length: {length}"]
        return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in signed.items()), "", ""]).encode()

    async def answered(connection: anyio.abc.SocketStream) -> bytes:
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.rstrip().endswith((b"}", b"Found", b"refused")):
            answer += await connection.receive()
        return answer.split(b" ")[1]

    with anyio.fail_after(20):
        async with await anyio.connect_tcp("127.0.0.1", owner.port) as connection:
            text = head(len(body)) + body
            for piece in (text[:60], text[60:-10], text[-10:]):
                await connection.send(piece)
                await anyio.sleep(0.05)
            assert await answered(connection) == b"200"
            await connection.send(b"GET /nothing HTTP/1.1\r\nhost: i\r\n\r\n")
            assert await answered(connection) == b"404"
            await connection.send(head(len(body)) + body)
            assert await answered(connection) == b"200"
        # Of what nobody signed nothing is kept: it costs no memory, and is answered at its end.
        before, unsigned = memory_of(owner), head(8_000_000).replace(b"x-jackfield-digest: ", b"x-jackfield-digest: 0")
        async with AsyncExitStack() as stack:
            connections = [
                await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", owner.port)) for _ in range(10)
            ]
            for connection in connections:
                await connection.send(unsigned + bytes(7_999_999))
            assert memory_of(owner) - before < 40_000_000
            await connections[0].send(b"0")
            assert await answered(connections[0]) == b"401"
        twice = f"{len(body)}\r\ncontent-length: {len(body)}"
        for wrong, status in (("-1", b"400"), ("x", b"400"), (twice, b"400"), (1 << 40, b"413")):
            async with await anyio.connect_tcp("127.0.0.1", owner.port) as connection:
                await connection.send(head(wrong) + body)
                assert await answered(connection) == status


@pytest.mark.parametrize("kind", ["redis", pytest.param("postgres", marks=pytest.mark.whole)])
async def test_the_instance_that_has_a_server_is_killed(kind: str, jackfield: Command, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jackfield.configure_user(one=unruly_entry("--log", str(log)))
    async with team_on(kind, jackfield, tmp_path) as team:
        owner, other = team.instances
        async with raw(owner) as client:
            assert await client.count() == 1
            [child] = child_of(owner)
            if kind == "redis":
                await only_instances_forward(client, owner, InstanceKeys(read_keys(tmp_path / "team" / "keys")))
            client.url = other.url
            before = await client.count()
            assert before > 1
            answers: list[tuple[str, float]] = []

            async def sleep() -> None:
                answers.append(((await client.call("sleep", seconds=60)).text, time.monotonic()))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sleep)
                await until_logged(log, "run sleep")
                killed_at = time.monotonic()
                os.kill(owner.pid, signal.SIGKILL)
            [(text, answered_at)] = answers
            assert answered_at - killed_at < 0.5
            assert "ended before it answered" in text
            assert '"isError":true' in text
            # It is opened again, says so once, and nothing is made twice.
            again = (await client.call("count")).text
            assert "was lost" in again
            assert re.search(r'"text":"1"', again)
            assert await client.count() == 2
            assert log.read_text().splitlines().count("run sleep") == 1
            assert len(child_of(other)) == 1
            assert eventually(lambda: not psutil.pid_exists(child), 10)
            # The one that was killed comes back, and is sent on.
            await owner.ended()
            await owner.start()
            client.url = owner.url
            assert await client.count() == 3
            assert child_of(owner) == []
            # One that stands still is not waited for; it gives up what it had when it goes on.
            if kind == "redis":
                child = child_of(other)[0]
                os.kill(other.pid, signal.SIGSTOP)
                stood_at = time.monotonic()
                assert "ended before it answered" in (await client.call("count")).text
                assert time.monotonic() - stood_at < 4
                assert "was lost" in (await client.call("count")).text
                assert await client.count() == 2
                os.kill(other.pid, signal.SIGCONT)
                assert eventually(lambda: not psutil.pid_exists(child), 10)
                assert len(child_of(owner)) == 1
                owner, other = other, owner
                client.url = owner.url
                assert await client.count() == 3
            # The other one stops in an orderly way: what it had goes with it.
            other.signal(signal.SIGTERM)
            await other.ended()
            text = (await client.call("count")).text
            assert "was lost" in text
            assert await client.count() == 2
    assert not strays()


async def test_a_session_with_a_server_over_http_is_used_by_every_instance(
    jackfield: Command, tmp_path: Path, listening: Callable[..., Listening]
) -> None:
    url = listening("chatty.py", "http", "--log", str(tmp_path / "log")).url
    jackfield.configure_user(one={"type": "http", "url": url, "protocol": "handshake"})
    async with running_store("redis") as store, running_team(jackfield, tmp_path / "team", store) as team:
        first, second = team.instances
        async with raw(first) as client, httpx2.AsyncClient(timeout=60) as http:
            elsewhere = RawClient(http, second.url)
            elsewhere.headers, elsewhere.asked = client.headers, 1000
            # Both open it at the same time.
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(client.call, "recall")
                    tasks.start_soon(elsewhere.call, "recall")
            assert "ok" in (await client.call("remember", value="blue")).text
            assert "blue" in (await elsewhere.call("recall")).text
            assert "ok" in (await elsewhere.call("remember", value="green")).text
            assert "green" in (await client.call("recall")).text
            # What is stored of it nobody can read.
            async with Redis.from_url(store) as redis:
                [name] = [key async for key in redis.scan_iter("*:v")]
                values = await redis.hvals(name)
                assert len(values) == 1
                assert not any(b"chatty" in value for value in values)
            # An instance is killed, another one stops: the session goes on.
            await first.kill()
            assert "green" in (recalled := (await elsewhere.call("recall")).text)
            assert "lost" not in recalled
            await first.start()
            assert "green" in (recalled := (await client.call("recall")).text)
            assert "lost" not in recalled
            second.signal(signal.SIGTERM)
            await second.ended()
            assert "green" in (await client.call("recall")).text
            await second.start()
            # Its client ends it, wherever.
            assert (await http.delete(second.url, headers=client.headers)).status_code == 200
            assert (await client.call("recall")).status_code == 404
            async with Redis.from_url(store) as redis:
                assert [key async for key in redis.scan_iter("*:v")] == []


async def test_sessions_at_servers_over_http_are_ended_there(
    jackfield: Command, tmp_path: Path, listening: Callable[..., Listening]
) -> None:
    """Also where the instance that opened them was killed, and no other one has used them; what fails is tried again,
    unless the server does not let clients end sessions."""
    requests: list[tuple[str, str | None, str | None]] = []
    open_sessions: set[str] = set()
    refusals = {"Bearer of bob": [503], "Bearer of carl": [405]}
    is_killed = False
    chatty = httpx2.URL(listening("chatty.py", "http").url)

    async def pass_on(request: Request) -> Response:
        by = request.headers.get("authorization")
        if is_killed and request.method == "DELETE" and refusals.get(str(by)):
            requests.append(("DELETE", request.headers.get("mcp-session-id"), by))
            return Response(status_code=refusals[str(by)].pop(0))
        async with httpx2.AsyncClient(timeout=None) as http:
            headers = {name: value for name, value in request.headers.items() if name != "host"}
            sent = http.build_request(request.method, chatty, headers=headers, content=await request.body())
            answer = await http.send(sent, stream=request.method == "GET")
            session_id = request.headers.get("mcp-session-id")
            requests.append((request.method, session_id, request.headers.get("authorization")))
            if request.method == "DELETE":
                open_sessions.discard(session_id or "")
            elif session_id is None and "mcp-session-id" in answer.headers:
                open_sessions.add(answer.headers["mcp-session-id"])
            if request.method == "GET":
                await answer.aclose()
                return Response(status_code=405)
            return Response(answer.content, answer.status_code, {**answer.headers})

    app = Starlette(routes=[Route("/mcp", pass_on, methods=["GET", "POST", "DELETE"])])
    file = tmp_path / "tokens"
    tokens = {user: add_token(file, user, scopes=["servers:*"]).token for user in ("ann", "bob", "carl")}
    secrets = tmp_path / "credentials.toml"
    secrets.touch(0o600)
    secrets.write_text('ann = {one = "of ann"}\nbob = {one = "of bob"}\ncarl = {one = "of carl"}\n')
    async with serving(app) as url, running_store("redis") as store:
        entry = {"type": "http", "url": f"{url}/mcp", "protocol": "handshake", "credentials": {"file": str(secrets)}}
        jackfield.configure_user(one=entry)
        options = ("--all-tools", "--token-file", str(file), "--metrics", "--session-idle", "3")
        async with (
            running_team(jackfield, tmp_path / "team", store, *options) as team,
            httpx2.AsyncClient(timeout=60) as http,
        ):
            first, second = team.instances

            async def opened(user: str, instance: GatewayInstance) -> RawClient:
                client = RawClient(http, instance.url)
                client.headers["Authorization"] = f"Bearer {tokens[user]}"
                await client.begin()
                assert '"result"' in (await client.post("tools/call", name="recall", arguments={})).text
                return client

            async def delete(client: RawClient) -> None:
                assert (await http.delete(client.url, headers=client.headers)).status_code == 200

            # In the usual way, it is ended at once, and once.
            await delete(await opened("ann", first))
            with anyio.fail_after(10):
                while open_sessions:
                    await anyio.sleep(0.02)
            ann, _ = await opened("ann", second), await opened("bob", second)
            left = await opened("bob", first)
            await opened("carl", second)
            assert len(open_sessions) == 4
            async with Redis.from_url(store) as redis:
                kept = [await redis.dump(key) for key in await redis.keys("*")]
                assert not any(one.encode() in (value or b"") for one in open_sessions for value in kept)
            before = len(requests)
            await second.kill()
            is_killed = True
            # One is ended by its client, two expire; that of an instance that lives goes on.
            ann.url = first.url
            await delete(ann)
            with anyio.fail_after(60):
                # The server keeps one that it does not let its client end.
                while len(open_sessions) > 2 or any(refusals.values()):
                    assert (await left.post("ping")).status_code == 200
                    await anyio.sleep(0.2)
            assert '"result"' in (await left.post("tools/call", name="recall", arguments={})).text
            deleted = [(session_id, by) for method, session_id, by in requests[before:] if method == "DELETE"]
            by_user = Counter(str(by) for _, by in deleted)
            assert by_user == {"Bearer of ann": 1, "Bearer of bob": 2, "Bearer of carl": 1}
            assert len(dict(deleted)) == 3
            watcher = add_token(file, "prometheus", scopes=["metrics"]).token
            root = first.url.removesuffix("/mcp")
            text = (await http.get(f"{root}/metrics", headers={"Authorization": f"Bearer {watcher}"})).text
            assert 'jackfield_upstream_left_total{server="one",outcome="ended"} 2' in text
            assert 'jackfield_upstream_left_total{server="one",outcome="failed"} 1' in text
            await delete(left)
            with anyio.fail_after(10):
                while len(open_sessions) > 1:
                    await anyio.sleep(0.02)
            async with Redis.from_url(store) as redis:
                assert await redis.keys("jf:values:*") == []


async def test_what_has_a_name_of_its_own_is_found_from_every_instance(jackfield: Command, tmp_path: Path) -> None:
    """Calls that wait for a client of 2026-07-28, and sessions that it keeps."""
    log = tmp_path / "log"
    chatty = [str(SERVERS / "chatty.py"), "stdio", "--log", str(log)]
    entry = {"command": quick_python(), "args": chatty, "env": {MARK: TOKEN}, "protocol": "handshake"}
    jackfield.configure_user(one=entry, two=unruly_entry())
    async with running_store("redis") as store, running_team(jackfield, tmp_path / "team", store) as team:
        client = Client()
        client.capabilities = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}
        first, second = (
            HttpConfig(server_name=one.name, url=one.url, protocol="2026-07-28", session=QUICK)
            for one in team.instances
        )
        async with opened(first, client) as here, opened(second, client) as there:

            async def ask(
                session: Session,
                tool: str,
                more: Mapping[str, Any] = NOTHING,
                kept: str | None = None,
                **arguments: Any,
            ) -> Any:
                given = {"tool": tool, "arguments": arguments, **({} if kept is None else {"session": kept})}
                params = {"name": "call_tool", "arguments": given, **more}
                return (await relay(caller_of(session), "tools/call", params)).result

            async def refused(session: Session, more: Mapping[str, Any], run: str = "a") -> None:
                with pytest.raises(RequestError) as caught:
                    await ask(session, "one.ask", more, kinds=["form"], id=run)
                assert caught.value.rpc_code == -32602

            question = await ask(here, "one.ask", kinds=["form"], id="a")
            answered = retry(question)
            # Tampered with, of another request, of an instance that there never was: refused wherever it is sent.
            state = answered["requestState"]
            mark, name, sealed = state.split(".", 2)
            for session in (here, there):
                for tampered in (state[:-4] + "AAAA", f"{mark}.{'0' * 16}.{sealed}", f"{'0' * 12}.{name}.{sealed}"):
                    await refused(session, {**answered, "requestState": tampered})
                await refused(session, answered, "b")
            assert "Ada" in json.dumps(await ask(there, "one.ask", answered, kinds=["form"], id="a"))
            runs = [line for line in log.read_text().splitlines() if line.startswith("run ask")]
            assert runs == ["run ask a"]
            # Replayed.
            for session in (here, there):
                await refused(session, answered)
            # A session that was kept by one instance.
            counted = await ask(here, "two.count", kept="new")
            [handle] = re.findall(r'session="([0-9a-f]+)"', json.dumps(counted).replace("\\", ""))
            for number, session in enumerate((there, here, there), 2):
                assert (await ask(session, "two.count", kept=handle))["content"][0]["text"] == str(number)
            assert "does not exist" in json.dumps(await ask(there, "two.count", kept=handle[:16] + "0" * 16))
            waiting = retry(await ask(here, "one.ask", kinds=["form"], id="c"))
            await team.instances[0].kill()
            await refused(there, waiting, "c")
            assert "does not exist, or was closed" in json.dumps(await ask(there, "two.count", kept=handle))


async def test_tasks_of_servers_at_each_instance_are_listed_by_any(
    scripted: Scripted, jackfield: Command, tmp_path: Path
) -> None:
    servers = {name: scripted(results("handshake"), line="stdio handshake") for name in ("a", "b")}
    jackfield.configure_user(**{name: entry_of(config) for name, config in servers.items()})
    async with team_on("redis", jackfield, tmp_path, "--all-tools") as team:
        first, second = team.instances
        async with raw(first) as here, httpx2.AsyncClient(timeout=60) as http:
            there = RawClient(http, second.url)
            there.headers, there.asked = here.headers, 1000
            assert "a_work" in (await here.post("tools/list")).text
            assert '"result"' in (await here.post("tools/call", name="a_work", arguments={})).text
            assert '"result"' in (await there.post("tools/call", name="b_work", arguments={})).text
            for client in (here, there):
                text = (await client.post("tasks/list")).text
                listed = json.loads(text[text.index('{"') : text.rindex("}") + 1])["result"]["tasks"]
                ids = [task["taskId"] for task in listed]
                assert {"a.8", "b.8"} <= set(ids)
                assert len(ids) == len(set(ids))


async def test_users_call_while_an_instance_is_killed(tmp_path: Path, nothing_left: None) -> None:
    """A small one of what `make gateway-matrix` does."""
    needs(missing())
    assert await matrix.run(tmp_path, "redis", users=4, servers=2, calls=8, kills=1, python=quick_python()) == []


async def test_a_kill_under_each_kind_of_call(tmp_path: Path, nothing_left: None) -> None:
    """One round of what `make gateway-rows` does."""
    needs(missing())
    assert await rows.run(tmp_path, "redis", only="kills", each=1, late=1.5, python=quick_python()) == []


async def test_a_change_reaches_whose_listing_it_changed_on_whichever_instance(
    jackfield: Command, tmp_path: Path
) -> None:
    """In both eras, in each view that has the server, once; nobody else hears of it."""
    # The same entry twice would be one in the catalog.
    jackfield.configure_user(one=everything(), two={**everything(), "timeout": 40})
    file = tmp_path / "users"
    reaches = {"ann": ["one"], "bob": ["one"], "carl": ["one", "two"], "eve": ["two"]}
    tokens = {
        name: add_token(file, name, scopes=[scope_of(server) for server in servers]).token
        for name, servers in reaches.items()
    }
    hosts = {name: Client() for name in ("bob", "carl", "eve")}
    streamed = dict.fromkeys(hosts, 0)
    async with (
        team_on("redis", jackfield, tmp_path, "--all-tools", "--token-file", str(file)) as team,
        MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog")) as manager,
        AsyncExitStack() as stack,
        anyio.create_task_group() as tasks,
    ):

        async def opened_by(name: str, number: int, protocol: str) -> Session:
            url, headers = team.instances[number].url, {"Authorization": f"Bearer {tokens[name]}"}
            own = f"{name}-{protocol}"
            config = HttpConfig(server_name=own, url=url, protocol=protocol, headers=headers, session=QUICK)  # type: ignore[arg-type]
            callbacks = SessionCallbacks(relayed_client=hosts[name]) if name in hosts else None
            session = await stack.enter_async_context(manager.open_session(config, callbacks=callbacks))
            await session.list_tools()
            return session

        async def stream(name: str, changes: Any) -> None:
            async for _ in changes:
                streamed[name] += 1

        def told(name: str) -> int:
            return len(hosts[name].of_kind("notifications/tools/list_changed"))

        changes_it = await opened_by("ann", 0, "handshake")
        for name in hosts:
            await opened_by(name, 1, "handshake")
            session = await opened_by(name, 1, "auto")
            changes = await stack.enter_async_context(session.listen(tools_list_changed=True))
            tasks.start_soon(stream, name, changes)
        await changes_it.call_tool("add_tool", {"name": "late"})
        with anyio.fail_after(20):
            while not (told("bob") and told("carl") and streamed["bob"] and streamed["carl"]):
                await anyio.sleep(0.02)
        assert [told(name) for name in hosts] == [1, 1, 0]
        assert list(streamed.values()) == [1, 1, 0]
        tasks.cancel_scope.cancel()


async def test_what_a_client_has_set_holds_at_every_instance(jackfield: Command, tmp_path: Path) -> None:
    """It is asked for at one instance, and the server is with the other; or was, until that was killed."""
    log = tmp_path / "log"
    chatty = [str(SERVERS / "chatty.py"), "stdio", "--log", str(log)]
    jackfield.configure_user(
        one={"command": quick_python(), "args": chatty, "env": {MARK: TOKEN}, "protocol": "handshake"}
    )
    one, updated = "notes://one", "notifications/resources/updated"
    async with team_on("redis", jackfield, tmp_path, "--all-tools") as team:
        owner, other = team.instances
        async with raw(owner) as here, httpx2.AsyncClient(timeout=60) as http, AsyncExitStack() as stack:
            there = RawClient(http, other.url)
            there.headers, there.asked = here.headers, 1000
            told = await stack.enter_async_context(told_to(there))

            async def level() -> str:
                return json.loads(answer_of((await here.post("tools/call", name="level", arguments={})).text))

            assert await level() is None
            await there.post("logging/setLevel", level="warning")
            with anyio.fail_after(10):
                while await level() != "warning":
                    await anyio.sleep(0.02)
            assert (await there.post("notifications/roots/list_changed")).status_code == 202
            await until_logged(log, "roots changed")

            async def heard(client: RawClient, count: int) -> None:
                await client.post("tools/call", name="touch", arguments={"uri": one})
                with anyio.fail_after(20):
                    while told.count(updated) < count:
                        await anyio.sleep(0.02)

            assert "result" in (await there.post("resources/subscribe", uri=one)).text
            await heard(here, 1)
            await owner.kill()
            # The other one takes over, and subscribes again by itself.
            with anyio.fail_after(30):
                while "result" not in (await there.post("tools/call", name="recall", arguments={})).text:
                    await anyio.sleep(0.05)
            with anyio.fail_after(30):
                while told.count(updated) < 2:
                    await there.post("tools/call", name="touch", arguments={"uri": one})
                    await anyio.sleep(0.05)
            await owner.start()
            assert "result" in (await here.post("resources/unsubscribe", uri=one)).text
            with anyio.fail_after(10):
                while "unsubscribe" not in log.read_text():
                    await anyio.sleep(0.02)
            before = told.count(updated)
            await there.post("tools/call", name="touch", arguments={"uri": one})
            await there.post("tools/call", name="recall", arguments={})
            assert told.count(updated) == before
    assert not strays()


@pytest.mark.parametrize("protocol", ["handshake", "2026-07-28"])
async def test_a_subscription_at_a_server_over_http_outlives_the_instance_that_made_it(
    protocol: str, jackfield: Command, tmp_path: Path, listening: Callable[..., Listening]
) -> None:
    """Whichever instances opened the session and subscribed; and each update is told once."""
    log = tmp_path / "log"
    server = listening("chatty.py", "http", "--log", str(log))
    jackfield.configure_user(one={"type": "http", "url": server.url, "protocol": protocol})
    one, updated = "notes://one", "notifications/resources/updated"
    async with (
        running_store("redis") as store,
        running_team(jackfield, tmp_path / "team", store, "--all-tools") as team,
    ):
        first, second = team.instances
        async with raw(first) as here, httpx2.AsyncClient(timeout=60) as http:
            there = RawClient(http, second.url)
            there.headers, there.asked = here.headers, 1000

            async def touch(client: RawClient) -> None:
                await client.post("tools/call", name="touch", arguments={"uri": one})

            async def until_told(client: RawClient) -> None:
                async with told_to(client) as told:
                    with anyio.fail_after(30):
                        while updated not in told:
                            await touch(client)
                            await anyio.sleep(0.1)

            assert "result" in (await here.post("tools/call", name="recall", arguments={})).text
            async with told_to(there) as told:
                # By the instance that the session's stream does not come to.
                assert "result" in (await there.post("resources/subscribe", uri=one)).text
                assert "result" in (await here.post("resources/subscribe", uri=one)).text
                for number in range(1, 4):
                    await touch((here, there)[number % 2])
                    with anyio.fail_after(20):
                        while told.count(updated) < number:
                            await anyio.sleep(0.02)
                assert told.count(updated) == 3
            async with Redis.from_url(store) as redis:
                stored = [await redis.dump(key) for key in await redis.keys("*") if b":s:" not in key]
                assert not any(b"notes://one" in (value or b"") for value in stored), "it stands there in plain text"
            # The one that subscribed ends, by force or not; the other one knows the client already.
            if protocol == "handshake":
                await second.kill()
            else:
                second.signal(signal.SIGTERM)
                await second.ended()
            await until_told(here)
            # One that comes to know the client only now.
            await second.start()
            await first.kill()
            await until_told(there)
            async with told_to(there) as told:
                assert "result" in (await there.post("resources/unsubscribe", uri=one)).text
                await touch(there)
                await there.post("tools/call", name="recall", arguments={})
                assert updated not in told


def answer_of(text: str) -> str:
    """What a tool answered, whether that came as JSON or as an event."""
    return str(json.loads(text[text.index('{"') : text.rindex("}") + 1])["result"]["content"][0]["text"])


@asynccontextmanager
async def told_to(client: RawClient) -> AsyncIterator[list[str]]:
    """The methods of what a client is told on its standing stream."""
    told: list[str] = []

    async def read(response: httpx2.Response) -> None:
        async for line in response.aiter_lines():
            message = json.loads(line[6:]) if line.startswith("data: {") else {}
            told.extend([message["method"]] if "method" in message else [])

    async with AsyncExitStack() as stack:
        with anyio.fail_after(20):
            # A stream that its instance could not end, since it was killed, is in the way until that counts as dead.
            while (response := await stack.enter_async_context(client.stream())).status_code == 409:
                await stack.pop_all().aclose()
                await anyio.sleep(0.1)
        assert response.status_code == 200
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, response)
            yield told
            tasks.cancel_scope.cancel()
