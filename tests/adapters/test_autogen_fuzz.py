"""Whatever a model gives, a server answers and a user's code raises: an agent's run ends, and its model can read why.

`JACKFIELD_FUZZ_ROUNDS=2000 pytest tests/adapters/test_autogen_fuzz.py` plays more rounds than the suite does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from random import Random
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_core import CancellationToken, FunctionCall
from autogen_core.models import CreateResult, RequestUsage
from tests.adapters.test_autogen import executions, replay
from tests.adapters.test_autogen_boundary import ANYTHING, BAD_PICTURES, GOOD, Failing
from tests.conftest import Scripted

from jackfield import CallHook, MCPClientSessionManager, MCPConfig, SessionConfig, Toolkit

ROUNDS = int(os.environ.get("JACKFIELD_FUZZ_ROUNDS", "60"))
SECONDS = 30

TEXTS = [
    "",
    "x",
    "ünï\U0001f600",
    "\ud83d",
    "a\x00b",
    "{",
    "\u2028",
    "{result}",
    "%s",
    "$ref",
    "x" * 300,
    "\x1b[31m",
    "\ufffe",
]
NAMES = ["result", "text", "self", "name", "args", "config", "model_config", "schema", "", "\ud83d", "a b", "__class__"]
NOT_JSON = [
    "",
    "{",
    "[1",
    "nul",
    "{'a': 1}",
    "\x00",
    '{"a": 1} x',
    "NaN",
    '{"a": Infinity}',
    '{"a":' * 300 + "1" + "}" * 300,
    '"\\ud83d"',
    "-",
    "5",
]
ERRORS: list[type[BaseException]] = [
    ValueError,
    KeyError,
    Failing,
    asyncio.CancelledError,
    RecursionError,
    AssertionError,
]


def value(random: Random, depth: int = 0) -> Any:
    """A JSON value of any kind."""
    match random.randrange(9 if depth < 3 else 6):
        case 0:
            return None
        case 1:
            return random.random() < 0.5
        case 2:
            return random.choice([0, -1, 2**63, 10**400, -(2**70)])
        case 3:
            return random.choice([0.5, 1e308, -0.0, float("nan"), float("inf")])
        case 4 | 5:
            return random.choice(TEXTS)
        case 6:
            return [value(random, depth + 1) for _ in range(random.randrange(4))]
        case _:
            return {random.choice(NAMES): value(random, depth + 1) for _ in range(random.randrange(4))}


def block(random: Random) -> Any:
    """A content block, sound or not."""
    data = base64.b64encode(random.choice([*BAD_PICTURES.values(), GOOD])).decode()
    sound = [
        {"type": "text", "text": random.choice(TEXTS)},
        {"type": "image", "data": data, "mimeType": random.choice(["image/png", "image/svg+xml", ""])},
        {"type": "audio", "data": data, "mimeType": "audio/wav"},
        {"type": "resource_link", "uri": "x://y", "name": "y"},
        {"type": "resource", "resource": {"uri": "x://y", "text": random.choice(TEXTS)}},
        {"type": "resource", "resource": {"uri": "x://y", "blob": data}},
    ]
    chosen: Any = random.choice([*sound, *sound, {"type": "hologram"}, {"type": "image"}, {}, "text", None])
    if isinstance(chosen, dict) and chosen and random.random() < 0.1:
        chosen = {**chosen, random.choice(list(chosen)): value(random)}
    return chosen


def result(random: Random) -> Any:
    """What a server answers."""
    if random.random() < 0.1:
        return value(random)
    content: Any = [block(random) for _ in range(random.randrange(4))]
    answer = {"content": content if random.random() < 0.95 else value(random)}
    if random.random() < 0.3:
        answer["structuredContent"] = value(random)
    if random.random() < 0.2:
        answer["isError"] = random.choice([True, True, False, value(random)])
    return answer


def arguments(random: Random) -> str:
    """What a model gives, as text."""
    if random.random() < 0.15:
        return random.choice(NOT_JSON)
    if random.random() < 0.35:
        return json.dumps(value(random))
    # Not what the client could not send: it is the server that is to answer it.
    line = json.dumps({"jsonrpc": "2.0", "id": 0, "result": result(random)}).replace('"id": 0', '"id": @ID', 1)
    return json.dumps({"result": {"raw": line}})


class Unreliable(CallHook):
    """A user's hook that fails now and then, wherever it can."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def _perhaps(self) -> Any:
        match self._random.randrange(12):
            case 0:
                raise self._random.choice(ERRORS)("no")
            case 1:
                return "not what hooks return"
            case _:
                return None

    async def before(self, *_: object) -> Any:
        return self._perhaps()

    async def after(self, *_: object) -> Any:
        return self._perhaps()

    async def on_error(self, *_: object) -> Any:
        return self._perhaps()


def step(name: str, arguments: str) -> CreateResult:
    call = FunctionCall("c", arguments, name)
    return CreateResult(finish_reason="function_calls", content=[call], usage=RequestUsage(0, 0), cached=False)


async def cancel_after(turns: int, token: CancellationToken) -> None:
    """Cancel once the event loop has gone round so often, whatever is under way then."""
    for _ in range(turns):
        await asyncio.sleep(0)
    token.cancel()


async def play(random: Random, tools: dict[str, Any], wrapped: str, *, cancels: bool) -> None:
    """Let a model call the tool `work`, or the tool `wrapped` about it; cancel the run now and then."""
    given, name = arguments(random), "work"
    if wrapped and random.random() < 0.8:
        name, part = wrapped, ("tool" if wrapped == "call_tool" else "tool_name")
        given = f'{{"server_name": "scripted", "{part}": "work", "arguments": {given}}}'
    elif wrapped:
        name = wrapped
    model = replay("done", "again")
    model.chat_completions.insert(0, step(name, given))
    agent = AssistantAgent("a", model_client=model, max_tool_iterations=2, **tools)
    token = CancellationToken()
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
        turns = int(10 ** random.uniform(0, 3.5)) if cancels and random.random() < 0.5 else None
        cancelling = None if turns is None else tasks.create_task(cancel_after(turns, token))
        ended = await agent.run(task="go", cancellation_token=token)
        if cancelling is not None:
            await cancelling
        again = await agent.run(task="again")
    [(text, is_error)] = executions(ended.messages)
    assert ended.messages[-1].to_text() == "done", given
    assert again.messages[-1].to_text() == "again", given
    assert isinstance(is_error, bool)
    text.encode()  # What cannot be sent to a model would end this run or the next one.
    assert "Traceback" not in text


@pytest.mark.parametrize("way", ["workbench", "tools", "search", "toolkit", "query"])
@pytest.mark.parametrize("seed", range(2))
async def test_no_run_hangs_or_raises(way: str, seed: int, scripted: Scripted) -> None:
    random = Random(f"{way} {seed}")
    wrapped = {"search": "call_tool", "query": "query_mcp_server"}.get(way, "")

    def policy(*_: object) -> Any:
        return random.choice(["allow"] * 8 + ["deny", "ask", None]) if random.random() > 0.1 else 1 / 0

    hooks = [Unreliable(random)] if seed % 2 else []
    # To some of what is sent it does not answer at all.
    server = scripted(ANYTHING, session=SessionConfig(call_timeout=1.0))
    async with MCPClientSessionManager(MCPConfig(servers=[server]), hooks=hooks) as manager:
        toolkit: Toolkit = await manager.toolkit(key="k")
        tools: dict[str, Any]
        match way:
            case "workbench":
                tools = {"workbench": manager.workbench(key="k", ordered=True, max_result_chars=10_000)}
            case "tools" | "search":
                tools = {"workbench": manager.router(mode=way, key="k", policy=policy if hooks else None).workbench()}
            case "toolkit":
                tools = {"tools": toolkit.hooked(Unreliable(random)).autogen()}
            case _:
                tools = {"tools": [manager.query_tool(key="k")]}
        for _ in range(ROUNDS // 2):
            # A plain function is a tool of AutoGen's own, with which cancelling makes an agent wait for ever.
            await play(random, tools, wrapped, cancels=way != "query")


@pytest.mark.parametrize("way", ["workbench", "tools", "toolkit"])
async def test_five_megabytes_of_text(way: str, scripted: Scripted) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[scripted(ANYTHING)])) as manager:
        toolkit: Toolkit = await manager.toolkit(key="k")
        workbenches = {"workbench": manager.workbench(key="k"), "tools": manager.router(mode="tools").workbench()}
        tools: Any = {"tools": toolkit.autogen()} if way == "toolkit" else {"workbench": workbenches[way]}
        text = "ü" * 2_500_000
        model = replay("done")
        given = json.dumps({"result": {"content": [{"type": "text", "text": text}]}}, ensure_ascii=False)
        model.chat_completions.insert(0, step("work", given))
        agent = AssistantAgent("a", model_client=model, max_tool_iterations=2, **tools)
        async with asyncio.timeout(SECONDS):
            ended = await agent.run(task="go")
        [(told, is_error)] = executions(ended.messages)
        assert not is_error
        assert (
            told == text if way != "tools" else told.startswith("ü" * 20_000 + "\n(Characters 0 to 20000 of 2500000.")
        )
