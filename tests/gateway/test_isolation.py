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

from jackfield import RequestError, Session
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


KINDS = {
    "tools": ("tools/list", "name", {"inputSchema": {"type": "object"}}),
    "prompts": ("prompts/list", "name", {}),
    "resources": ("resources/list", "uri", {"name": "a"}),
    "templates": ("resources/templates/list", "uriTemplate", {"name": "a"}),
}
"""How each is listed, and what it is known by."""


@pytest.mark.parametrize("mode", ["all tools", "find_tools"])
async def test_what_a_server_lists_in_one_session_is_listed_for_its_client_alone(mode: str, tmp_path: Path) -> None:
    """Such as files that it made for this client, and tools that it offers once a user has logged in."""
    lists: dict[str, Any] = {}
    for kind, (method, key, more) in KINDS.items():
        scheme = "" if key == "name" else "notes://"
        common, made = ({key: f"{scheme}{kind}_{name}", **more} for name in ("common", "made"))
        listed_by = "resourceTemplates" if kind == "templates" else kind
        lists[method] = [{listed_by: entries} for entries in ([common], [common, made], [common])]
    behind = Behind(tmp_path)
    server = behind.server("notes", lists)
    told = {f"notifications/{kind}/list_changed": 1 for kind in ("tools", "prompts", "resources")}
    ann, bob = Client(), Client()
    async with (
        gateway_of(tmp_path, [server], all_tools=mode == "all tools") as here,
        AsyncExitStack() as stack,
    ):
        sessions = [await stack.enter_async_context(opened(here.config("handshake"), host)) for host in (ann, bob)]

        async def asked(number: int, method: str, **params: Any) -> Any:
            return (await relay(caller_of(sessions[number]), method, params)).result

        async def found(number: int, name: str, **arguments: Any) -> str:
            return (await asked(number, "tools/call", name=name, arguments=arguments))["content"][0]["text"]

        async def listed(number: int) -> str:
            """What is listed, in the words of one answer after the other."""
            answers = [await asked(number, method) for method, _, _ in KINDS.values()]
            if mode == "find_tools":
                answers[0] = await found(number, "find_tools", queries=["made tools"])
            return "".join("M" if f"{kind}_made" in str(one) else "-" for kind, one in zip(KINDS, answers, strict=True))

        async def call(number: int, which: str) -> Any:
            name = f"tools_{which}"
            if mode == "all tools":
                return await asked(number, "tools/call", name=name, arguments={})
            return await asked(number, "tools/call", name="call_tool", arguments={"tool": f"notes.{name}"})

        assert await listed(0) == await listed(1) == "----"
        for number in (0, 1):
            await call(number, "common")
        owner = here.gateway.manager.inside.find("notes", here.gateway.clients.all()[0].key)
        assert owner is not None

        async def change(times: int) -> None:
            for kind in ("tools", "prompts", "resources"):
                owner.listing_changed(kind)  # type: ignore[arg-type]
            # The first time, servers are asked what they offer.
            assert await settled(lambda: behind.asked("notes").count("resources/templates/list") == 1 + times)

        def heard(host: Client) -> dict[str, int]:
            return {method: len(host.of_kind(method)) for method in told if host.of_kind(method)}

        if mode == "find_tools":
            del told["notifications/tools/list_changed"]  # Its listing is find_tools and call_tool, as before.
        await change(1)
        assert await listed(0) == "----"
        assert not heard(ann)
        await change(2)
        assert await settled(lambda: heard(ann) == told)
        assert (await listed(0), await listed(1)) == ("MMMM", "----")
        for method, params in (
            ("resources/read", {"uri": "notes://resources_made"}),
            ("prompts/get", {"name": "prompts_made"}),
            ("completion/complete", {"ref": {"type": "ref/prompt", "name": "prompts_made"}, "argument": {}}),
        ):
            assert (await asked(0, method, **params))["params"]
        assert (await call(0, "made"))["params"]["name"] == "tools_made"
        if mode == "all tools":
            with pytest.raises(RequestError, match="Unknown tool"):
                await call(1, "made")
        else:
            assert (await call(1, "made"))["isError"] is True
        with pytest.raises(RequestError, match="Unknown prompt"):
            await asked(1, "prompts/get", name="prompts_made")
        await change(3)
        assert await settled(lambda: heard(ann) == dict.fromkeys(told, 2))
        assert await listed(0) == "----"
        assert not heard(bob)
