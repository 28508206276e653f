"""Hooks around calls that pass through a gateway: they stop, change and see them; all else is as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp.types import TextContent
from tests.cli.conftest import Command
from tests.conftest import Scripted
from tests.gateway.conftest import stdio_config
from tests.gateway.in_process import gateway_of
from tests.gateway.test_extensions import entry_of
from tests.relayed import Chatty, Client, opened
from tests.servers.chatty import TASKS

from jackfield import CallHook, JackfieldError, Session, ToolCall, ToolResult
from jackfield.gateway.audit import Audit
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

OWN = {"content": [{"type": "text", "text": "own", "own": None}], "own": {"a": None}}


class Noted(CallHook):
    """Does what the call's argument `do` says, and notes what it sees."""

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []
        self.seen: list[str] = []

    async def before(self, call: ToolCall) -> ToolCall | None:
        self.calls.append(call)
        match call.arguments.get("do"):
            case "stop":
                raise call.deny("not today")
            case "fail":
                raise RuntimeError("broken")
            case "change":
                return call.with_arguments(do="changed").with_headers(x_own="yes")
        return None

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult | None:
        self.seen.append(result.text)
        if call.arguments.get("do") == "hide":
            return ToolResult(content=[TextContent(type="text", text="hidden")])
        if call.arguments.get("do") == "touch":
            result.content = [TextContent(type="text", text="touched")]
        return None

    async def on_error(self, call: ToolCall, error: JackfieldError) -> ToolResult | None:
        self.seen.append(error.code)
        return (
            ToolResult(content=[TextContent(type="text", text="replaced")])
            if call.arguments.get("do") == "mend"
            else None
        )


ADDED = ("_meta", "resultType", "ttlMs", "cacheScope")
"""What a server of the newer protocol adds."""


async def made(session: Session, tool: str, do: str, **more: Any) -> dict[str, Any]:
    params = {"name": tool, "arguments": {"do": do}, **more}
    result = (await relay(caller_of(session), "tools/call", params)).result
    return {key: value for key, value in result.items() if key not in ADDED}


def words(result: Mapping[str, Any]) -> str:
    return result["content"][0]["text"]


@pytest.mark.parametrize("line", ["stdio handshake", "http modern"])
async def test_hooks_stop_change_and_see_calls(line: str, scripted: Scripted, tmp_path: Path) -> None:
    tool = {"name": "work", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
    results = {"tools/list": {"tools": [tool]}, "tools/call": [OWN, OWN, OWN, "echo"]}
    hook, file = Noted(), tmp_path / "audit"
    server = scripted(results, line=line)
    async with gateway_of(tmp_path, [server], hooks=[hook], audit=Audit(file)) as here:
        async with opened(here.config("handshake"), Client()) as session:
            assert await made(session, "work", "nothing") == OWN
            [call] = hook.calls
            assert (call.server_name, call.tool, dict(call.arguments)) == (
                server.server_name,
                "work",
                {"do": "nothing"},
            )
            assert call.annotations is not None
            assert call.annotations.read_only_hint
            assert words(await made(session, "work", "hide")) == "hidden"
            assert words(await made(session, "work", "touch")) == "touched"
            for do, why in (("stop", "denied: not today"), ("fail", "broken")):
                stopped = await made(session, "work", do)
                assert stopped["isError"]
                assert why in words(stopped)
            assert scripted.asked.count("tools/call") == 3
            assert json.loads(words(await made(session, "work", "change"))) == {"do": "changed"}
            odd = (await relay(caller_of(session), "tools/call", {"name": "work", "arguments": [1]})).result
            assert "its arguments are not an object" in words(odd)
    assert hook.seen == ["own", "own", "own", '{"do": "changed"}']
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    outcomes = ["ok", "ok", "ok", "denied", "denied", "ok", "denied"]
    assert [line["outcome"] for line in lines] == outcomes
    assert [line.get("sent_arguments") for line in lines] == [None] * 5 + [{"do": "changed"}, None]


async def test_rounds_errors_and_tasks(chatty: Chatty, tmp_path: Path) -> None:
    """A call whose server asks for input has a result once only; no call has a task for one."""
    hook, host = Noted(), Client()
    host.capabilities = {"elicitation": {"form": {}}, "extensions": {TASKS: {}, "own/x": {}}}
    async with gateway_of(tmp_path, [chatty("http modern")], hooks=[hook]) as here:
        async with opened(here.config("modern"), host) as session:
            asked = (
                await relay(caller_of(session), "tools/call", {"name": "ask", "arguments": {"kinds": ["form"]}})
            ).result
            assert (asked["resultType"], hook.seen) == ("input_required", [])
            answers = {"inputResponses": {"q": {"action": "decline"}}, "requestState": asked["requestState"]}
            params = {"name": "ask", "arguments": {"kinds": ["form"]}, **answers}
            assert (await relay(caller_of(session), "tools/call", params)).result["resultType"] == "complete"
            assert (len(hook.calls), len(hook.seen)) == (2, 1)
            assert words(await made(session, "fail", "mend")) == "replaced"
            capabilities = json.loads(words(await made(session, "capabilities", "", task={"ttl": 1})))
            assert capabilities == {"elicitation": {"form": {}}, "extensions": {"own/x": {}}}
            begun = await relay(caller_of(session), "tools/call", {"name": "begin", "arguments": {"id": "1"}})
            assert begun.result["isError"]
            assert "is withheld: hooks cannot see it" in words(begun.result)


HOOK = """
from jackfield import CallHook

class Polite(CallHook):
    async def before(self, call):
        return call.with_headers(x_own="yes").with_arguments(please=True)

ready = Polite()
"""


@pytest.mark.parametrize("name", ["Polite", "ready"])
async def test_a_hook_of_a_file(name: str, scripted: Scripted, jackfield: Command, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(HOOK)
    jackfield.configure_user(scripted=entry_of(scripted({"tools/call": "echo"})))
    config = stdio_config(jackfield, "--all-tools", "--hook", f"{tmp_path / 'own.py'}:{name}")
    async with opened(config, Client()) as session:
        assert json.loads(words(await made(session, "work", "x"))) == {"do": "x", "please": True}
