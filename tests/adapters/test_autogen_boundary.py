"""AutoGen AgentChat waits for ever for a call that raises or is cancelled: none does, in whichever way it fails."""

from __future__ import annotations

import asyncio
import base64
import re
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ToolCallExecutionEvent, ToolCallRequestEvent
from autogen_core import CancellationToken
from autogen_core.tools import ImageResultContent, TextResultContent
from PIL import Image as PillowImage
from tests.adapters.test_autogen import executions, replay
from tests.conftest import Scripted, Unruly

from jackfield import CallHook, MCPClientSessionManager, MCPConfig, ToolCall, Toolkit
from jackfield.adapters.autogen import JackfieldWorkbench, WorkbenchConfig
from jackfield.routing.tool_router import ToolRouter

SECONDS = 20

ANYTHING = {"tools/call": "given"}
"""A server whose tool answers with its argument `result`."""


async def said(call: tuple[str, Any], **tools: Any) -> tuple[str, bool]:
    """What an agent's model is told of one call, and whether as an error; the agent then ends by itself."""
    agent = AssistantAgent("a", model_client=replay(call, "done"), max_tool_iterations=3, **tools)
    async with asyncio.timeout(SECONDS):
        result = await agent.run(task="go")
    assert result.messages[-1].to_text() == "done"
    [answer] = executions(result.messages)
    return answer


WAYS: dict[str, Callable[[MCPClientSessionManager], Any]] = {
    "workbench": lambda manager: {"workbench": manager.workbench(key="k")},
    "router": lambda manager: {"workbench": manager.router(mode="tools", key="k").workbench()},
}


async def ways(manager: MCPClientSessionManager, hook: CallHook | None = None) -> dict[str, Any]:
    """All that an agent can be given."""
    toolkit: Toolkit = await manager.toolkit(key="k")
    toolkit = toolkit if hook is None else toolkit.hooked(hook)
    return {name: make(manager) for name, make in WAYS.items()} | {"toolkit": {"tools": toolkit.autogen()}}


@pytest.mark.parametrize(
    "arguments",
    [[1, 2], "x", 5, True, {"text": "\ud83d"}, {"text": "x", "\ud83d": 1}, {"text": [{"a": "\ud83d"}]}],
    ids=repr,
)
async def test_arguments_that_are_no_object_are_told(arguments: Any, unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        for name, tools in (await ways(manager)).items():
            text, is_error = await said(("echo", arguments), **tools)
            assert is_error, name
            assert "Nothing was sent" in text, name
            if not isinstance(arguments, dict):
                assert "are not a JSON object: they are" in text, name


class Failing(BaseException):
    def __str__(self) -> str:
        raise ValueError("not even words")


ERRORS = [
    ConnectionError("the approver is down"),
    KeyError("x"),
    Failing(),
    asyncio.CancelledError(),
    ExceptionGroup("g", [OSError()]),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_user_code_that_raises_is_an_error_result(error: BaseException, unruly: Unruly) -> None:
    class Broken(CallHook):
        async def before(self, call: ToolCall) -> None:
            raise error

    async def policy(*_: object) -> Any:
        raise error

    config = MCPConfig(servers=[unruly()])
    async with MCPClientSessionManager(config, hooks=[Broken()]) as manager:
        for tools in (await ways(manager)).values():
            text, is_error = await said(("echo", {"text": "x"}), **tools)
            assert is_error
            assert f"The hook 'Broken' failed: {type(error).__name__}" in text
            assert "; nothing was sent." in text
    async with MCPClientSessionManager(config) as manager:
        text, is_error = await said(("echo", {"text": "x"}), **(await ways(manager, Broken()))["toolkit"])
        assert is_error
        assert "; nothing was sent." in text
        for more in ({"policy": policy}, {"policy": lambda *_: "ask", "on_ask": policy}):
            workbench = manager.router(mode="tools", **more).workbench()
            text, is_error = await said(("echo", {"text": "x"}), workbench=workbench)
            assert is_error
            assert f"The {list(more)[-1]} 'policy' failed: {type(error).__name__}" in text
            assert "; nothing was sent." in text
    assert "run echo" not in unruly.log


def png(width: int, height: int, data: bytes) -> bytes:
    """A picture that claims a size and has some data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


GOOD = png(2, 1, zlib.compress(b"\0" + b"\xff" * 6))
BAD_PICTURES = {
    "bomb": png(40_000, 40_000, b"x"),
    "large": png(9_000, 9_000, zlib.compress(bytes(9_000))),
    "broken": png(10, 10, b"zzzz"),
    "cut": png(100, 100, zlib.compress(bytes(100)))[:-20],
    "another program's": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
    "none": b"hello",
    "empty": b"",
}


def image(data: bytes) -> dict[str, Any]:
    return {"type": "image", "data": base64.b64encode(data).decode(), "mimeType": "image/png"}


async def test_pictures_that_cannot_be_shown_are_named(scripted: Scripted) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[scripted(ANYTHING)])) as manager:
        workbench = manager.workbench(key="k")
        blocks = [image(data) for data in BAD_PICTURES.values()]
        blocks += [{**blocks[0], "data": "no base64"}, image(GOOD)]
        async with asyncio.timeout(SECONDS):
            result = await workbench.call_tool("work", {"result": {"content": blocks}})
        *bad, good = result.result
        assert all(isinstance(part, TextResultContent) and part.content.startswith("[image: ") for part in bad)
        assert isinstance(good, ImageResultContent)
        assert good.content.image.getpixel((0, 0)) == (255, 255, 255)
        assert good.content.to_base64()
        for tools in (await ways(manager)).values():
            text, is_error = await said(("work", {"result": {"content": [blocks[0], image(GOOD)]}}), **tools)
            assert (text, is_error) == (f"[image: image/png, 58 bytes]\n[image: image/png, {len(GOOD)} bytes]", False)


async def test_pictures_are_read_and_converted_off_the_event_loop(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[threading.Thread] = set()

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            used.add(threading.current_thread())
            return method(*args, **kwargs)

        return noted

    for name in ("load", "convert"):
        monkeypatch.setattr(PillowImage.Image, name, noting(getattr(PillowImage.Image, name)))
    async with MCPClientSessionManager(MCPConfig(servers=[scripted(ANYTHING)])) as manager:
        arguments = {"result": {"content": [image(GOOD), image(BAD_PICTURES["cut"])]}}
        result = await manager.workbench().call_tool("work", arguments)
        assert [type(part) for part in result.result] == [ImageResultContent, TextResultContent]
        result.to_text()
        assert used
        assert threading.current_thread() not in used


async def test_both_paths_say_the_same_of_an_error(scripted: Scripted) -> None:
    words = "The disk is full.\n" * 50
    async with MCPClientSessionManager(MCPConfig(servers=[scripted(ANYTHING)])) as manager:
        failed = {"content": [{"type": "text", "text": words}, image(GOOD)], "isError": True}
        told = [await said(("work", {"result": failed}), **tools) for tools in (await ways(manager)).values()]
        assert set(told) == {(f"{words}\n[image: image/png, {len(GOOD)} bytes]", True)}


# Cancelling


@pytest.mark.parametrize("way", ["workbench", "router", "toolkit"])
async def test_an_agent_whose_token_is_cancelled_in_mid_call_ends_and_runs_again(way: str, unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        tools, token = (await ways(manager))[way], CancellationToken()
        model = replay(("sleep", {"seconds": 60}), ("echo", {"text": "x"}), "done", ("echo", {"text": "x"}), "done")
        agent = AssistantAgent("a", model_client=model, max_tool_iterations=4, **tools)
        run = asyncio.create_task(agent.run(task="go", cancellation_token=token))
        async with asyncio.timeout(SECONDS):
            while "run sleep" not in unruly.log:
                await asyncio.sleep(0.01)
            token.cancel()
            slow, late = executions((await run).messages)
            assert "'sleep' was cancelled" in slow[0]
            assert "Nothing was sent" in late[0]
            assert slow[1] is late[1] is True
            assert executions((await agent.run(task="again")).messages) == [("x", False)]
    assert unruly.log.count("run echo") == 1


@pytest.mark.parametrize("way", ["workbench", "router", "toolkit"])
async def test_a_token_that_is_cancelled_before_the_call_begins(way: str, unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        tools, token = (await ways(manager))[way], CancellationToken()
        agent = AssistantAgent("a", model_client=replay(("echo", {"text": "x"}), "done"), **tools)
        messages: list[Any] = []
        async with asyncio.timeout(SECONDS):
            async for message in agent.run_stream(task="go", cancellation_token=token):
                messages.append(message)
                if isinstance(message, ToolCallRequestEvent):
                    token.cancel()
        [(text, is_error)] = executions(messages)
        assert "'echo' was cancelled. Nothing was sent." in text
        assert is_error
    assert "run echo" not in unruly.log


@pytest.mark.parametrize("way", ["workbench", "toolkit"])
@pytest.mark.parametrize("with_token", [False, True])
async def test_a_task_that_is_cancelled_itself_ends(way: str, with_token: bool, unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        token, arguments = CancellationToken(), {"seconds": 60}
        if way == "workbench":
            call = asyncio.create_task(manager.workbench(key="k").call_tool("sleep", arguments, token))
        else:
            [tool] = [tool for tool in (await manager.toolkit(key="k")).autogen() if tool.name == "sleep"]
            call = asyncio.create_task(tool.run_json(arguments, token))
            token.link_future(call)
        async with asyncio.timeout(SECONDS):
            while "run sleep" not in unruly.log:
                await asyncio.sleep(0.01)
            if with_token:
                token.cancel()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call


async def test_tools_are_shown_as_before_where_they_cannot_be_listed_between_two_calls(
    unruly: Unruly, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        workbench = manager.workbench()
        agent = AssistantAgent(
            "a", model_client=replay(("echo", {"text": "x"}), "done"), workbench=workbench, max_tool_iterations=3
        )
        messages: list[Any] = []
        async with asyncio.timeout(SECONDS):
            async for message in agent.run_stream(task="go"):
                messages.append(message)
                if isinstance(message, ToolCallRequestEvent):
                    # What fails within: the listing itself, in a way that nobody thought of.
                    monkeypatch.setattr(manager, "open_sessions", None)
                    await workbench.reset()
        [(text, is_error)] = executions(messages)
        assert is_error
        assert "TypeError" in text


async def test_an_agent_whose_servers_cannot_be_opened_is_told_why_and_can_try_again(
    unruly: Unruly, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    working = unruly(name="later")
    program = tmp_path / "program"
    config = MCPConfig(servers=[working.model_copy(update={"command": str(program)})])
    async with MCPClientSessionManager(config) as manager:
        model = replay(("open_later", {}), ("open_later", {}), ("echo", {"text": "x"}), "done")
        agent = AssistantAgent("a", model_client=model, workbench=manager.workbench(), max_tool_iterations=5)
        messages: list[Any] = []
        async with asyncio.timeout(SECONDS):
            async for message in agent.run_stream(task="go"):
                messages.append(message)
                if isinstance(message, ToolCallExecutionEvent) and not program.exists():
                    program.symlink_to(sys.executable)
        assert messages[-1].messages[-1].to_text() == "done"
        (text, is_error), *others = executions(messages)
        assert is_error
        assert text.startswith("Server 'later' could not be started: the command ")
        assert others == [
            ("These tools can be called now: echo, add, count, pid, sleep, crash, flood, environment, fail.", False),
            ("x", False),
        ]
        shown = [[tool["name"] for tool in step["tools"]] for step in model.create_calls]
        assert [names[0] for names in shown] == ["open_later", "open_later", "echo", "echo"]
        assert "was not found" in model.create_calls[0]["tools"][0]["description"]
        assert caplog.text.count("open_later is offered instead") == 1, "though they are listed at every step"


async def test_of_many_servers_that_cannot_be_opened_each_is_named_within_bounds(unruly: Unruly) -> None:
    servers = [unruly("--exit", "3", "--stderr", "x" * 900, name=f"server-{number}") for number in range(5)]
    async with MCPClientSessionManager(MCPConfig(servers=servers)) as manager:
        workbench = manager.workbench()
        for _ in range(2):
            [tool] = await workbench.list_tools()
            assert re.fullmatch(r"open_server-0_server-1_[\w-]{1,43}", tool["name"])
            assert "None of 5 servers could list its tools. server-0: " in tool["description"]
            assert "server-2: " in tool["description"]
            assert "And 2 more. Call this to try again" in tool["description"]
            assert len(tool["description"]) < 1024
        for name in (tool["name"], "echo"):
            result = await workbench.call_tool(name)
            assert result.is_error
            assert "None of 5 servers could list its tools" in result.to_text()
        [alone] = await manager.workbench(["server-1"]).list_tools()
        assert alone["name"] == "open_server-1", "two workbenches of one agent must not share a name"


async def test_whatever_fails_in_the_first_listing_does_not_leave_a_run(
    unruly: Unruly, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        await manager.toolkit()  # A router has its tools of the catalog.
        for workbench in (manager.workbench(), manager.router(mode="tools").workbench()):
            with monkeypatch.context() as patch:
                patch.setattr(manager, "open_sessions", None)
                patch.setattr(ToolRouter, "toolkit", None)
                text, is_error = await said(("open_unruly", {}), workbench=workbench)
            assert is_error
            assert "TypeError" in text
            assert await said(("echo", {"text": "x"}), workbench=workbench) == ("x", False)


async def test_an_error_says_how_the_process_ended_before_what_it_wrote(unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly("--stderr", "3")])) as manager:
        tools = await ways(manager)
        for way in ("workbench", "toolkit"):
            text, is_error = await said(("crash", {"code": 7}), **tools[way])
            assert is_error
            assert text.startswith("Session of server 'unruly' was lost: its process exited with code 7.")


# Names, lengths, prompts


async def test_names_that_two_workbenches_of_an_agent_share_are_told(
    unruly: Unruly, caplog: pytest.LogCaptureFixture
) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly(name="one"), unruly(name="two")])) as manager:
        both = [manager.workbench(["one"], key="k"), manager.workbench(["two"], key="k")]
        model = replay(("pid", {}), ("pid", {}), "done", "done")
        agent = AssistantAgent("a", model_client=model, workbench=both, max_tool_iterations=3)
        async with asyncio.timeout(SECONDS):
            await agent.run(task="go")
            await agent.run(task="again")
        [warning] = [record.getMessage() for record in caplog.records if "Two workbenches" in record.message]
        assert "the same name: add, count, crash, echo" in warning
        assert (
            "AutoGen calls those of the workbench of one (key 'k'), and never those of the workbench of two" in warning
        )
        caplog.clear()
        for workbench in both:
            alone = AssistantAgent("a", model_client=replay("done"), workbench=workbench)
            await alone.run(task="go")
            await workbench.list_tools()
        assert "Two workbenches" not in caplog.text


@pytest.mark.parametrize("way", ["workbench", "toolkit"])
async def test_a_long_result_is_cut_and_can_be_read_on(way: str, unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        tools: dict[str, Any]
        if way == "workbench":
            tools = {"workbench": manager.workbench(max_result_chars=1000)}
        else:
            tools = {"tools": (await manager.toolkit(max_result_chars=1000)).autogen()}
        text, is_error = await said(("echo", {"text": "a" * 1000 + "b" * 1500}), **tools)
        shown, _, how = text.partition("\n")
        assert (shown, is_error) == ("a" * 1000, False)
        handle = how.partition('read_on(handle="')[2][:8]
        assert how == f'(Characters 0 to 1000 of 2500. To read more: read_on(handle="{handle}", offset=1000))'
        text, is_error = await said(("read_on", {"handle": handle, "offset": 2000}), **tools)
        assert (text, is_error) == ("b" * 500, False)


async def test_prompts_are_tools_where_they_are_asked_for(scripted: Scripted) -> None:
    prompts = {"prompts": [{"name": "greet", "arguments": [{"name": "who", "required": True}]}]}
    filled = {"messages": [{"role": "user", "content": {"type": "text", "text": "Say hello to Ada."}}]}
    script = {**ANYTHING, "prompts/list": prompts, "prompts/get": filled}
    async with MCPClientSessionManager(MCPConfig(servers=[scripted(script)])) as manager:
        assert [tool["name"] for tool in await manager.workbench().list_tools()] == ["work"]
        workbench = manager.workbench(use_mcp_prompts=True, max_result_chars=10)
        assert [tool["name"] for tool in await workbench.list_tools()] == ["work", "greet", "read_on"]
        text, is_error = await said(("greet", {"who": "Ada"}), workbench=workbench)
        assert (text.partition("\n")[0], is_error) == ("Say hello ", False)
        stored = workbench.dump_component().config
        assert (stored["use_mcp_prompts"], stored["max_result_chars"]) == (True, 10)
        stored["servers"][0]["environment"] = {}
        loaded = JackfieldWorkbench._from_config(WorkbenchConfig.model_validate(stored))
        assert loaded.dump_component().config == stored
