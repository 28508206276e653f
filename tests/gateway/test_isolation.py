"""Clients of one gateway never see each other's sessions, questions, messages, progress or updates.

Several clients of both eras do random things at the same time, with servers that keep state and talk a lot.
"""

from __future__ import annotations

import json
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.daily import daily
from tests.gateway.in_process import gateway_of
from tests.gateway.test_listings import Behind
from tests.relayed import Chatty, Client, opened
from tests.reliability.scenario import settled

from jackfield import Session
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

WATCHED = "jackfield+b:notes://one"
"""A resource whose server tells all sessions that subscribed to it."""
SERVERS = {"a": "stdio handshake", "b": "http handshake", "c": "http modern", "d": "stdio modern"}
LOG_LEVEL = "io.modelcontextprotocol/logLevel"


class Host(Client):
    """A client that knows what is meant for it: everything that has its tag."""

    def __init__(self, tag: str, era: str, seed: int) -> None:
        super().__init__()
        self.tag = tag
        self.is_modern = era == "modern"
        self.capabilities = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}
        self.said: list[str] = []
        self.remembered: dict[str, Any] = {}
        self.has_watched = False
        self._random = random.Random(f"{seed} {tag}")
        self.session: Session
        self.tools: dict[str, str] = {}

    async def begin(self, session: Session) -> None:
        self.session = session
        listed = (await relay(caller_of(session), "tools/list", {})).result["tools"]
        self.tools = {str(tool["name"]): str(tool["name"]) for tool in listed}
        if not self.is_modern:
            await relay(caller_of(session), "logging/setLevel", {"level": "debug"})

    async def ask(self, method: str, params: Any, about: object, report: Any) -> dict[str, Any]:
        self.asked.append((method, params, about))
        await anyio.sleep(self._random.random() * 0.02)
        return {"action": "accept", "content": {"name": self.tag}}

    async def call(self, server: str, name: str, arguments: dict[str, Any], **more: Any) -> Any:
        [tool] = [tool for tool in self.tools if tool in (f"{server}_{name}", f"{server}-{name}", f"{server}.{name}")]
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        # Requests that want no log messages share processes and connections.
        if name == "say" or self._random.random() < 0.3:
            params["_meta"] = {LOG_LEVEL: "debug"}
        answers: dict[str, Any] = {}
        while True:
            result = (await relay(caller_of(self.session), "tools/call", {**params, **answers}, **more)).result
            if result.get("resultType") != "input_required":
                return json.loads(result["content"][0]["text"])
            answers = {"inputResponses": {}, "requestState": result["requestState"]}
            for key, asked in result["inputRequests"].items():
                answers["inputResponses"][key] = await self.ask(asked["method"], asked.get("params"), None, None)

    async def act(self, number: int) -> None:
        """Do one thing, and check what comes of it."""
        server, tag = self._random.choice(list(SERVERS)), f"{self.tag} {number}"
        match self._random.choice(["say", "ask", "steps", "remember", "recall", "pause", "watch", "touch", "give up"]):
            case "say":
                times = self._random.randint(1, 5)
                self.said += [f"{tag} {count}" for count in range(times)]
                await self.call(server, "say", {"level": "info", "text": tag, "times": times})
            case "ask":
                kind = self._random.choice(["form", "sampling", "roots"])
                [answer] = await self.call(server, "ask", {"kinds": [kind], "tag": tag})
                assert answer["content"]["name"] == self.tag
            case "steps":
                told: list[Any] = []

                async def tell(params: Any) -> None:
                    told.append(params["message"])

                await self.call(server, "steps", {"count": 4, "tag": tag}, on_progress=tell)
                assert told == [tag] * 4
            case "remember":
                await self.call(server, "remember", {"value": tag})
                self.remembered[server] = tag
            case "recall":
                value = await self.call(server, "recall", {})
                keeps_state = not self.is_modern and "handshake" in SERVERS[server]
                if keeps_state:
                    assert value == self.remembered.get(server)
                elif "handshake" in SERVERS[server]:
                    assert value is None
            case "watch" if not self.is_modern:
                method = self._random.choice(["resources/subscribe", "resources/unsubscribe"])
                self.has_watched = self.has_watched or method == "resources/subscribe"
                await relay(caller_of(self.session), method, {"uri": WATCHED})
            case "touch":
                await self.call("b", "touch", {"uri": "notes://one"})
            case "pause":
                assert await self.call(server, "pause", {"seconds": self._random.random() * 0.02, "tag": tag}) == tag
            case _:
                with anyio.move_on_after(self._random.random() * 0.05):
                    await self.call(server, "wait", {"id": tag})

    def check(self) -> None:
        """Nothing came that was not meant for it, and everything that was."""
        assert all(str((params or {}).get("tag", "")).startswith(f"{self.tag} ") for _, params, _ in self.asked)
        words = [params["data"]["words"] for params in self.of_kind("notifications/message")]
        assert words == self.said
        updated = {params["uri"] for params in self.of_kind("notifications/resources/updated")}
        assert updated <= ({WATCHED} if self.has_watched else set())
        others = {method for method, _, _ in self.told} - {"notifications/message", "notifications/resources/updated"}
        assert all(method.endswith("/list_changed") for method in others)


@pytest.mark.parametrize("seed", range(daily(1, whole=20)))
async def test_clients_see_nothing_of_each_other(seed: int, chatty: Chatty, tmp_path: Path) -> None:
    configs = [chatty(line, name) for name, line in SERVERS.items()]
    hosts = [Host(f"client{number}", era, seed) for number, era in enumerate(("handshake", "modern") * 2)]
    async with gateway_of(tmp_path, configs) as here, AsyncExitStack() as stack:
        for host in hosts:
            era = "modern" if host.is_modern else "handshake"
            await host.begin(await stack.enter_async_context(opened(here.config(era), host)))

        async def live(host: Host) -> None:
            for number in range(daily(10, whole=40)):
                await host.act(number)

        with anyio.fail_after(100):
            async with anyio.create_task_group() as tasks:
                for host in hosts:
                    tasks.start_soon(live, host)
        for host in hosts:
            host.check()


async def test_what_a_server_lists_in_one_session_is_listed_for_its_client_alone(tmp_path: Path) -> None:
    """Such as files that it made for this client."""
    common, made = ({"uri": f"notes://{name}", "name": name} for name in ("common", "made"))
    lists = [{"resources": [common]}, {"resources": [common, made]}, {"resources": [common]}]
    server = Behind(tmp_path).server("notes", {"resources/list": lists})
    told = "notifications/resources/list_changed"
    ann, bob = Client(), Client()
    async with gateway_of(tmp_path, [server]) as here, AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(opened(here.config("handshake"), host)) for host in (ann, bob)]

        async def listed(number: int) -> list[str]:
            result = (await relay(caller_of(sessions[number]), "resources/list", {})).result
            return [resource["name"] for resource in result["resources"]]

        assert await listed(0) == await listed(1) == ["common"]
        for session in sessions:
            await session.call_tool("echo", {})
        key = here.gateway.clients.all()[0].key
        owner = here.gateway.manager.inside.find("notes", key)
        assert owner is not None

        async def change(expected: list[str]) -> None:
            with anyio.fail_after(20):
                while await listed(0) != expected:
                    owner.listing_changed("resources")
                    await anyio.sleep(0.1)

        await change(["common", "made"])
        assert await settled(lambda: len(ann.of_kind(told)) == 1)
        assert await listed(1) == ["common"]
        read = (await relay(caller_of(sessions[0]), "resources/read", {"uri": "notes://made"})).result
        assert read["params"]["uri"] == "notes://made"
        await change(["common"])
        assert await settled(lambda: len(ann.of_kind(told)) == 2)
        assert not bob.of_kind(told)
