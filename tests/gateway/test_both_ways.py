"""What servers behind the gateway ask and tell reaches the client whose session it is, whichever era either speaks.

One gateway for each combination of client and server; each check is a function of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import MCPError
from tests.cli.conftest import Command
from tests.conftest import MARK, TOKEN
from tests.daily import daily
from tests.gateway.conftest import Serving, stdio_config
from tests.relayed import LINES, Chatty, Client, opened
from tests.reliability.scenario import settled
from tests.servers.chatty import QUESTIONS, RESTLESS

from jackfield import HttpConfig, RequestError, Session, StdioConfig
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

CAPABILITIES = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {"listChanged": True}}
LOG_LEVEL = "io.modelcontextprotocol/logLevel"

ACCEPTED = {"action": "accept", "content": {"name": "Ada"}, "own": None}
ANSWERS: Mapping[str, dict[str, Any]] = {
    "form": ACCEPTED,
    "url": {"action": "decline", "own": [1]},
    "sampling": {"role": "assistant", "content": {"type": "text", "text": "yo"}, "model": "m", "own": {"a": 1}},
    "roots": {"roots": [{"uri": "file:///x", "own": 1}], "_meta": {"own": None}},
}
KINDS = {params.get("mode", method): kind for kind, (method, params) in QUESTIONS.items()}


def kind_of(method: str, params: Any) -> str:
    return KINDS[(params or {}).get("mode", method)]


@dataclass
class World:
    """A client in front of the gateway, and the log of the server behind it."""

    session: Session
    client: Client
    log: Path
    client_is_modern: bool
    server_is_modern: bool

    async def request(self, method: str, params: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Make a request; a client of the newer protocol answers by sending it once more."""
        answers: dict[str, Any] = {}
        while True:
            result = (await relay(caller_of(self.session), method, {**params, **answers}, **more)).result
            if result.get("resultType") != "input_required":
                return result
            answers = {"inputResponses": {}, "requestState": result["requestState"]}
            for key, asked in result["inputRequests"].items():
                response = await self.client.ask(asked["method"], asked.get("params"), None, None)
                answers["inputResponses"][key] = response

    async def call(self, name: str, arguments: Any = None, meta: Any = None, **more: Any) -> Any:
        params: dict[str, Any] = {"name": name, "arguments": arguments or {}}
        if meta:
            params["_meta"] = meta
        result = await self.request("tools/call", params, **more)
        return json.loads(result["content"][0]["text"])

    def logged(self, line: str) -> int:
        return self.log.read_text().splitlines().count(line) if self.log.exists() else 0


class Host(Client):
    """Answers each question in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = CAPABILITIES
        self.refusal: MCPError | None = None

    async def ask(self, method: str, params: Any, about: object, report: Any) -> dict[str, Any]:
        self.asked.append((method, params, about))
        if self.refusal is not None:
            raise self.refusal
        return ANSWERS[kind_of(method, params)]


async def check_questions(world: World) -> None:
    for kind, (method, params) in QUESTIONS.items():
        world.client.asked.clear()
        assert await world.call("ask", {"kinds": [kind], "id": kind}) == [ANSWERS[kind]]
        [(asked_method, asked_params, _)] = world.client.asked
        assert (asked_method, asked_params) == (method, params)
        assert world.logged(f"run ask {kind}") == 1


async def check_several_questions(world: World) -> None:
    kinds = ["form", "sampling", "form", "roots"]
    assert await world.call("ask", {"kinds": kinds, "id": "several"}) == [ANSWERS[kind] for kind in kinds]
    assert world.logged("run ask several") == 1


async def check_prompts_and_resources_ask(world: World) -> None:
    prompt = await world.request("prompts/get", {"name": "asking"})
    assert json.loads(prompt["messages"][0]["content"]["text"]) == ACCEPTED
    resource = await world.request("resources/read", {"uri": "asking://form"})
    assert json.loads(resource["contents"][0]["text"]) == ACCEPTED


async def check_capabilities(world: World) -> None:
    assert await world.call("capabilities") == CAPABILITIES


async def check_progress(world: World) -> None:
    told: list[Any] = []

    async def tell(params: Any) -> None:
        told.append(params)

    assert await world.call("steps", {"count": 20}, on_progress=tell) == "20 steps"
    assert told == [{"progress": number + 1, "total": 20, "own": [number]} for number in range(20)]


async def check_log_messages(world: World) -> None:
    def words() -> list[str]:
        return [told["data"]["words"] for told in world.client.of_kind("notifications/message")]

    world.client.told.clear()
    if not world.client_is_modern:
        await world.request("logging/setLevel", {"level": "warning"})
    meta = {LOG_LEVEL: "warning"} if world.client_is_modern else None
    await world.call("say", {"level": "info", "text": "low"}, meta)
    await world.call("say", {"level": "error", "text": "high", "times": 5}, meta)
    assert words() == [f"high {number}" for number in range(5)]
    assert world.client.told[0][1] == {"level": "error", "data": {"words": "high 0"}, "own": None}
    if world.client_is_modern:
        await world.call("say", {"level": "error", "text": "not asked for"})
        assert len(words()) == 5
        await world.call("say", {"level": "debug", "text": "lower"}, {LOG_LEVEL: "debug"})
        assert words()[5:] == ["lower 0"]
    else:
        await world.request("logging/setLevel", {"level": "debug"})
        await world.call("say", {"level": "debug", "text": "lower"})
        assert words()[5:] == ["lower 0"]


async def check_updates(world: World) -> None:
    world.client.told.clear()
    uri = "notes://one"
    if world.client_is_modern:
        # Without sessions, a call may be served by another process than the stream.
        uri = RESTLESS
        async with world.session.listen(resource_subscriptions=[uri]) as changes:
            with anyio.fail_after(20):
                async for change in changes:
                    assert getattr(change, "uri", None) == uri
                    break
        return
    await world.request("resources/subscribe", {"uri": uri})
    await world.request("resources/subscribe", {"uri": uri})
    await world.call("touch", {"uri": uri})
    assert await settled(lambda: bool(world.client.of_kind("notifications/resources/updated")))
    await world.request("resources/unsubscribe", {"uri": uri})
    if not world.server_is_modern:
        assert await settled(lambda: world.logged(f"unsubscribe {uri}") == 1)
        assert world.client.of_kind("notifications/resources/updated") == [{"uri": uri, "own": 1}]
        with pytest.raises(RequestError) as caught:
            await world.request("resources/subscribe", {"uri": "notes://none"})
        assert (caught.value.rpc_code, caught.value.rpc_data) == (-32002, {"uri": "notes://none"})
    await world.call("touch", {"uri": uri})
    assert await world.call("recall") is None
    assert len(world.client.of_kind("notifications/resources/updated")) == 1


async def check_completed_elicitations(world: World) -> None:
    world.client.told.clear()
    await world.call("complete", {"id": "e1"})
    told = world.client.of_kind("notifications/elicitation/complete")
    # It is not in the newer protocol.
    is_passed = not world.client_is_modern and not world.server_is_modern
    assert told == ([{"elicitationId": "e1", "own": 1}] if is_passed else told and [{"elicitationId": "e1", "own": 1}])


async def check_errors(world: World) -> None:
    with pytest.raises(RequestError) as caught:
        await world.call("fail")
    error = caught.value
    assert (error.rpc_code, error.rpc_message, error.rpc_data) == (-32042, " own\nwords ", {"own": [None, 1.0]})


async def check_refusals(world: World) -> None:
    """A client of the newer protocol cannot refuse but by giving up its request."""
    if world.client_is_modern:
        return
    host = world.client
    assert isinstance(host, Host)
    host.refusal = MCPError(-1, " own ", {"own": None})
    try:
        if world.server_is_modern:
            with pytest.raises(RequestError) as caught:
                await world.call("ask", {"kinds": ["form"]})
            assert (caught.value.rpc_code, caught.value.rpc_data) == (-1, {"own": None})
        else:
            [answer] = await world.call("ask", {"kinds": ["form"]})
            assert answer == {"error": {"code": -1, "message": " own ", "data": {"own": None}}}
    finally:
        host.refusal = None


async def check_cancellation(world: World) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.call, "wait", {"id": "w"})
        assert await settled(lambda: world.logged("waiting w") == 1)
        tasks.cancel_scope.cancel()
    assert await settled(lambda: world.logged("cancelled w") == 1)


async def check_changed_roots(world: World) -> None:
    if not world.client_is_modern and not world.server_is_modern:
        await world.session.send_roots_list_changed()
        assert await settled(lambda: world.logged("roots changed") == 1)


CHECKS: list[Callable[[World], Awaitable[None]]] = [
    check_questions,
    check_several_questions,
    check_prompts_and_resources_ask,
    check_capabilities,
    check_progress,
    check_log_messages,
    check_updates,
    check_completed_elicitations,
    check_errors,
    check_refusals,
    check_cancellation,
    check_changed_roots,
]

Start = Callable[..., Serving]


def entry_of(config: StdioConfig | HttpConfig) -> dict[str, Any]:
    """The server in a configuration file."""
    if isinstance(config, HttpConfig):
        return {"url": config.url, "protocol": config.protocol}
    return {"command": config.command, "args": config.args, "env": {MARK: TOKEN}, "protocol": config.protocol}


@asynccontextmanager
async def in_front_of(
    config: StdioConfig | HttpConfig, front: str, jackfield: Command, serving: Start, log: Path
) -> AsyncIterator[World]:
    jackfield.configure_user(chatty=entry_of(config))
    transport, era = front.split()
    protocol = "handshake" if era == "handshake" else "auto"
    if transport == "http":
        gateway: Any = serving("--all-tools").config(protocol=protocol)
    else:
        gateway = stdio_config(jackfield, "--all-tools", protocol=protocol)
    client = Host()
    async with opened(gateway, client) as session:
        yield World(session, client, log, era == "modern", config.protocol != "handshake")


DAILY = [
    ("http handshake", "stdio handshake"),
    ("http handshake", "http modern"),
    ("http modern", "stdio handshake"),
    ("http modern", "http modern"),
    ("stdio handshake", "stdio modern"),
    ("stdio modern", "http handshake"),
]


@pytest.mark.parametrize(("front", "line"), daily(DAILY, whole=[(front, line) for front in LINES for line in LINES]))
async def test_everything_passes_both_ways(
    front: str, line: str, chatty: Chatty, jackfield: Command, serving: Start, tmp_path: Path
) -> None:
    async with in_front_of(chatty(line), front, jackfield, serving, tmp_path / "log") as world:
        failed: dict[str, BaseException] = {}
        for check in CHECKS:
            try:
                with anyio.fail_after(30):
                    await check(world)
            except Exception as error:
                failed[check.__name__] = error
        if failed:
            raise ExceptionGroup(f"{front} before {line}: {', '.join(failed)}", list(failed.values()))
