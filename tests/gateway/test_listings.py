"""What a gateway lists: from the catalog, with nothing open, for each client once and never for another's server."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.conftest import MARK, SERVERS, TOKEN
from tests.daily import daily

from jackfield import (
    Catalog,
    InProcessConfig,
    MCPClientSessionManager,
    RequestError,
    Session,
    SessionConfig,
    StdioConfig,
)
from jackfield.gateway import catalog_learning as learning
from jackfield.gateway import listing
from jackfield.gateway.gateway import Gateway
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

ECHO = {"name": "echo", "inputSchema": {"type": "object", "$comment": "kept"}, "fromTheFuture": 1}


def introduced(capabilities: dict[str, Any], **more: Any) -> dict[str, Any]:
    about = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "small", "version": "1"}}
    return {"initialize": {**about, "capabilities": capabilities, **more}}


ALL = introduced(
    {"tools": {}, "prompts": {}, "resources": {"subscribe": True}, "new": {"a": 1}}, instructions="Use it."
)


class Behind:
    """Small servers behind a gateway, and what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = Catalog(folder / "catalog")

    def server(self, name: str, results: dict[str, Any] | None = None, era: str = "handshake") -> StdioConfig:
        said = {**ALL, "tools/list": {"tools": [{**ECHO, "name": f"echo_{name}"}, ECHO]}, "tools/call": "params"}
        said |= {
            "prompts/list": {"prompts": [{"name": "ask", "fromTheFuture": 1}]},
            "prompts/get": "params",
            "resources/list": {"resources": [{"uri": "notes://a", "name": "a"}, {"uri": f"{name}://b", "name": "b"}]},
            "resources/templates/list": {"resourceTemplates": [{"uriTemplate": f"{name}://x/{{id}}", "name": "t"}]},
            "resources/read": "params",
            "completion/complete": "params",
        }
        said |= results or {}
        return StdioConfig(
            server_name=name,
            command=sys.executable,
            args=[
                *("-S", str(SERVERS / "scripted.py"), "stdio", "--era", era),
                *("--results", json.dumps(said), "--log", str(self.folder / f"{name}.log")),
            ],
            environment={MARK: TOKEN},  # type: ignore[dict-item]
            session=SessionConfig(timeout=20),
        )

    def asked(self, name: str) -> list[str]:
        log = self.folder / f"{name}.log"
        return log.read_text().split() if log.exists() else []

    @asynccontextmanager
    async def gateway(self, configs: Sequence[StdioConfig], **options: Any) -> AsyncGenerator[Gateway]:
        async with MCPClientSessionManager(catalog=self.catalog) as manager:
            async with Gateway(manager, configs, all_tools=True, **options) as gateway:
                yield gateway


@asynccontextmanager
async def client(gateway: Gateway, protocol: str = "handshake") -> AsyncGenerator[Session]:
    config = InProcessConfig(server_name="gateway", server=gateway.server, protocol=protocol)  # type: ignore[arg-type]
    async with MCPClientSessionManager().open_session(config) as session:
        yield session


async def raw(session: Session, method: str, **params: Any) -> dict[str, Any]:
    return (await relay(caller_of(session), method, params)).result


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.01)


async def until_listed(session: Session, method: str, key: str) -> None:
    with anyio.fail_after(20):
        while not (await raw(session, method))[key]:
            await anyio.sleep(0.01)


@pytest.fixture
def behind(tmp_path: Path) -> Behind:
    return Behind(tmp_path)


async def test_many_servers_are_listed_with_none_open_and_a_call_opens_one(behind: Behind) -> None:
    names = [f"s{number}" for number in range(daily(10, whole=30))]
    configs = [behind.server(name) for name in names]
    async with behind.gateway(configs) as gateway, client(gateway) as session:
        first = await raw(session, "tools/list")
    assert len(first["tools"]) == 2 * len(names)
    assert all(behind.asked(name).count("initialize") == 1 for name in names), "each was asked once"
    async with behind.gateway(configs) as gateway:
        for _ in range(2):
            async with client(gateway) as session:
                assert await raw(session, "tools/list") == first
                await raw(session, "resources/list")
                await raw(session, "prompts/list")
        assert all(behind.asked(name).count("initialize") == 1 for name in names), "none was asked again"
        async with client(gateway) as session:
            await raw(session, "tools/call", name="echo_s7", arguments={})
    opened = {name: behind.asked(name).count("initialize") - 1 for name in names}
    assert [name for name, count in opened.items() if count] == ["s7"]


async def test_everything_is_listed_as_it_came_and_reaches_its_server(behind: Behind) -> None:
    async with behind.gateway([behind.server("one"), behind.server("two")]) as gateway, client(gateway) as session:
        tools = (await raw(session, "tools/list"))["tools"]
        assert tools == [
            {**ECHO, "name": "echo_one"},
            {**ECHO, "name": "one_echo"},
            {**ECHO, "name": "echo_two"},
            {**ECHO, "name": "two_echo"},
        ]
        prompts = (await raw(session, "prompts/list"))["prompts"]
        assert prompts == [{"name": f"{name}_ask", "fromTheFuture": 1} for name in ("one", "two")]
        resources = (await raw(session, "resources/list"))["resources"]
        assert [one["uri"] for one in resources] == [
            "jackfield+one:notes://a",
            "one://b",
            "jackfield+two:notes://a",
            "two://b",
        ]
        templates = (await raw(session, "resources/templates/list"))["resourceTemplates"]
        assert [one["uriTemplate"] for one in templates] == ["one://x/{id}", "two://x/{id}"]

        async def reached(method: str, **params: Any) -> dict[str, Any]:
            return (await raw(session, method, **params))["params"]

        assert (await reached("tools/call", name="two_echo", arguments={"a": 1}))["name"] == "echo"
        assert (await reached("prompts/get", name="one_ask"))["name"] == "ask"
        for given, own in (
            ("jackfield+two:notes://a", "notes://a"),
            ("one://b", "one://b"),
            ("two://x/7", "two://x/7"),
            ("jackfield+one:any://thing", "any://thing"),
            ("two://what/nobody/lists", "two://what/nobody/lists"),
        ):
            assert (await reached("resources/read", uri=given))["uri"] == own
        argument = {"name": "id", "value": ""}
        template = {"type": "ref/resource", "uri": "one://x/{id}"}
        assert (await reached("completion/complete", ref=template, argument=argument))["ref"] == template
        prompt = {"type": "ref/prompt", "name": "two_ask"}
        given_prompt = (await reached("completion/complete", ref=prompt, argument=argument))["ref"]
        assert given_prompt == {"type": "ref/prompt", "name": "ask"}
        unknown: list[tuple[str, dict[str, Any]]] = [
            ("resources/read", {"uri": "nobody://has/it"}),
            ("prompts/get", {"name": "nobody"}),
            ("tools/call", {"name": "nobody", "arguments": {}}),
        ]
        for method, params in unknown:
            with pytest.raises(RequestError, match="Unknown") as caught:
                await raw(session, method, **params)
            assert caught.value.rpc_code == -32602


async def test_capabilities_are_those_of_all_before_anything_is_open(behind: Behind) -> None:
    configs = [
        behind.server("one"),
        behind.server("two", introduced({"tools": {}, "completions": {}, "new": {"b": 2}})),
    ]
    async with behind.gateway(configs) as gateway:
        async with client(gateway) as session:
            assert (await session.initialize()).capabilities.prompts is None
            assert caller_of(session).owner.connection
            assert behind.asked("one") == [], "nothing is learnt when a client comes"
            await raw(session, "tools/list")
        before = behind.asked("one")
        async with client(gateway) as session:
            connection = caller_of(session).owner.connection
            assert connection is not None
            assert connection.report.capabilities == {
                "tools": {"listChanged": True},
                "prompts": {"listChanged": True},
                "resources": {"subscribe": True, "listChanged": True},
                "completions": {},
                "new": {"a": 1, "b": 2},
            }
            assert connection.client.instructions == "# one\nUse it."
        assert behind.asked("one") == before


async def test_a_server_that_hangs_costs_its_own_entries_and_one_wait(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "LISTING_SECONDS", 3.0)
    configs = [behind.server("good"), behind.server("mute", {"initialize": None})]
    async with behind.gateway(configs) as gateway:
        listed: list[list[str]] = []
        ends: list[float] = []
        started = time.monotonic()

        async def one() -> None:
            async with client(gateway) as session:
                listed.append([tool["name"] for tool in (await raw(session, "tools/list"))["tools"]])
                ends.append(time.monotonic() - started)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(one)
        assert min(ends) > 2.5, "they waited"
        started = time.monotonic()
        for _ in range(3):
            await one()
        assert max(ends[3:]) < 2.5, "nobody waits again"
        assert listed == [["echo_good", "echo"]] * 6
        async with client(gateway) as session:
            hints = await raw(session, "tools/list")
            assert hints["tools"]
            assert await raw(session, "tools/call", name="echo", arguments={})


async def test_one_that_answers_late_is_told_to_those_who_listed_without_it(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "LISTING_SECONDS", 0.2)
    configs = [behind.server("good"), behind.server("late")]
    go = behind.folder / "go"
    waits = f"""
import os, sys, time
while not os.path.exists({str(go)!r}):
    time.sleep(0.01)
os.execv(sys.executable, sys.argv[1:])
"""
    late = configs[1]
    configs[1] = late.model_copy(update={"args": ["-S", "-c", waits, sys.executable, *late.args]})
    async with behind.gateway(configs[:1]) as gateway, client(gateway) as session:
        await until_listed(session, "tools/list", "tools")
    async with behind.gateway(configs) as gateway, client(gateway) as session:
        async with session.listen(tools_list_changed=True) as changes:
            assert [tool["name"] for tool in (await raw(session, "tools/list"))["tools"]] == ["echo_good", "echo"]
            go.touch()
            with anyio.fail_after(20):
                await anext(changes)  # type: ignore[arg-type]
            names = [tool["name"] for tool in (await raw(session, "tools/list"))["tools"]]
            assert names == ["echo_good", "echo", "echo_late", "late_echo"], "and renames nothing"


async def test_one_that_failed_is_not_waited_for_again(behind: Behind) -> None:
    configs = [behind.server("good"), behind.server("broken", {"initialize": "exit"})]
    for _ in range(2):
        async with behind.gateway(configs) as gateway, client(gateway) as session:
            assert len((await raw(session, "tools/list"))["tools"]) == 2
            await raw(session, "tools/list")
            await raw(session, "prompts/list")
    assert behind.asked("broken").count("initialize") <= 2 * 2, "once for each gateway, and once more at the handshake"


async def test_pages_and_cursors(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_ENTRIES", 3)
    many = {"tools/list": {"tools": [{**ECHO, "name": f"t{number}"} for number in range(7)]}}
    async with behind.gateway([behind.server("one", many)]) as gateway, client(gateway) as session:
        pages = [await raw(session, "tools/list")]
        while (cursor := pages[-1].get("nextCursor")) is not None:
            pages.append(await raw(session, "tools/list", cursor=cursor))
        assert [[tool["name"] for tool in page["tools"]] for page in pages] == [
            ["t0", "t1", "t2"],
            ["t3", "t4", "t5"],
            ["t6"],
        ]
        wrong = ["", "2", "%%%", base64.urlsafe_b64encode(b'["tools", "t99"]').decode(), 3]
        for cursor in (*wrong, pages[0]["nextCursor"] + "x"):
            with pytest.raises(RequestError, match="Unknown cursor") as caught:
                await raw(session, "tools/list", cursor=cursor)
            assert caught.value.rpc_code == -32602
        with pytest.raises(RequestError, match="Unknown cursor"):
            await raw(session, "prompts/list", cursor=pages[0]["nextCursor"])


async def test_listings_are_fresh_for_as_long_as_the_shortest_says(behind: Behind) -> None:
    hour, soon = {"ttlMs": 3_600_000, "cacheScope": "public"}, {"ttlMs": 2000, "cacheScope": "public"}

    def server(name: str, hints: dict[str, Any]) -> StdioConfig:
        about: dict[str, Any] = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        return behind.server(
            name, {"server/discover": about, "tools/list": {"tools": [{**ECHO, "name": name}], **hints}}, "modern"
        )

    for configs, expected in (
        ([server("a", hour)], (300_000, "public")),
        ([server("a", hour), server("b", soon)], (2000, "public")),
        ([server("a", hour), behind.server("old")], (300_000, "private")),
    ):
        async with behind.gateway(configs) as gateway, client(gateway, "auto") as session:
            listed = await raw(session, "tools/list")
            assert (listed["ttlMs"], listed["cacheScope"]) == expected


async def test_clients_are_told_only_of_what_really_changed(behind: Behind) -> None:
    before, after = ({"prompts": [{"name": name}]} for name in ("a", "b"))
    config = behind.server("one", {"prompts/list": [before, after]})
    async with behind.gateway([config]) as gateway, client(gateway) as session:
        told: list[str] = []
        caller_of(session).owner.listeners.append(lambda message: told.append(getattr(message, "method", "")))
        for method in ("tools/list", "prompts/list", "resources/list"):
            await raw(session, method)
        await raw(session, "tools/call", name="echo", arguments={})
        owner = gateway.manager.inside.find("one", next(iter(gateway.clients)).key)
        assert owner is not None
        for times in (2, 3):
            for kind in ("tools", "resources", "prompts"):
                owner.listing_changed(kind)  # type: ignore[arg-type]
            await until(lambda times=times: behind.asked("one").count("resources/templates/list") == times)  # type: ignore[misc]
        await until(lambda: bool(told))
        assert told == ["notifications/prompts/list_changed"]
        assert [one["name"] for one in (await raw(session, "prompts/list"))["prompts"]] == ["b"]
