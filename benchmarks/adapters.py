"""What an adapter adds to a warm call over the neutral tool, on one session.

`over neutral` is the adapter's call against the neutral tool's. Frameworks do work of their own around every tool
(callbacks, tracing, messages); where they let one make a tool of a plain function, `the framework's own` is what a
bare function around the neutral tool costs there: that part is not ours to save.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jackfield import Catalog, MCPClientSessionManager, StdioConfig, Toolkit, create_toolkit

from .arena import SERVER, Plan
from .figures import Row, row_of

ARGUMENTS = {"text": "x" * 10}
Call = Callable[[], Awaitable[object]]


def autogen(toolkit: Toolkit) -> tuple[Call, Call | None]:
    """A `BaseTool`, against AutoGen's `FunctionTool`."""
    from autogen_core import CancellationToken
    from autogen_core.tools import FunctionTool

    (adapted,) = toolkit.autogen()
    neutral = toolkit["echo"]

    async def echo(text: str) -> str:
        """Say it again."""
        return (await neutral.call({"text": text})).text

    bare = FunctionTool(echo, description="Say it again.")
    return (
        lambda: adapted.run_json(ARGUMENTS, CancellationToken()),
        lambda: bare.run_json(ARGUMENTS, CancellationToken()),
    )


def langchain(toolkit: Toolkit) -> tuple[Call, Call | None]:
    """A `StructuredTool`, against one made of a function."""
    from langchain_core.tools import StructuredTool

    (adapted,) = toolkit.langchain()
    neutral = toolkit["echo"]

    async def echo(text: str) -> str:
        """Say it again."""
        return (await neutral.call({"text": text})).text

    bare = StructuredTool.from_function(coroutine=echo)
    call = {"type": "tool_call", "id": "1", "name": "echo", "args": ARGUMENTS}
    return lambda: adapted.ainvoke(call), lambda: bare.ainvoke(call)


def openai(toolkit: Toolkit) -> tuple[Call, Call | None]:
    """A call of the Responses API."""
    call = {"type": "function_call", "call_id": "1", "name": "echo", "arguments": json.dumps(ARGUMENTS)}
    return lambda: toolkit.dispatch(call), None


def anthropic(toolkit: Toolkit) -> tuple[Call, Call | None]:
    """A call of the Messages API."""
    call = {"type": "tool_use", "id": "1", "name": "echo", "input": ARGUMENTS}
    return lambda: toolkit.dispatch(call), None


def gemini(toolkit: Toolkit) -> tuple[Call, Call | None]:
    """A call of the Gemini API."""
    call = {"name": "echo", "args": ARGUMENTS}
    return lambda: toolkit.dispatch(call), None


def ag2(toolkit: Toolkit) -> tuple[Call, Call | None]:
    """An AG2 1.x `FunctionTool`, against one made of a function."""
    import ag2
    from ag2.context import ConversationContext
    from ag2.events import ToolCallEvent

    (adapted,) = toolkit.ag2().tools
    neutral = toolkit["echo"]

    async def echo(text: str) -> str:
        """Say it again."""
        return (await neutral.call({"text": text})).text

    bare = ag2.tool(echo)
    context = ConversationContext(ag2.MemoryStream())
    arguments = json.dumps(ARGUMENTS)
    return (
        lambda: adapted(ToolCallEvent("echo", arguments=arguments), context),
        lambda: bare(ToolCallEvent("echo", arguments=arguments), context),
    )


def openai_agents(toolkit: Toolkit) -> tuple[Call, Call | None]:
    """A `FunctionTool` of OpenAI's Agents SDK, against one made of a function."""
    from agents import function_tool
    from agents.tool_context import ToolContext

    (adapted,) = toolkit.openai_agents()
    neutral = toolkit["echo"]

    async def echo(text: str) -> str:
        """Say it again."""
        return (await neutral.call({"text": text})).text

    bare = function_tool(echo)
    arguments = json.dumps(ARGUMENTS)
    context: Any = ToolContext(None, tool_name="echo", tool_call_id="1", tool_arguments=arguments)
    return lambda: adapted.on_invoke_tool(context, arguments), lambda: bare.on_invoke_tool(context, arguments)


def pydantic_ai(toolkit: Toolkit) -> tuple[Call, Call | None]:
    """A toolset of Pydantic AI, against one made of a function."""
    from pydantic_ai import FunctionToolset, RunContext, RunUsage
    from pydantic_ai.models.test import TestModel

    adapted = toolkit.pydantic_ai()
    neutral = toolkit["echo"]

    async def echo(text: str) -> str:
        """Say it again."""
        return (await neutral.call({"text": text})).text

    bare: Any = FunctionToolset([echo])
    context: Any = RunContext(deps=None, model=TestModel(), usage=RunUsage())

    async def call(toolset: Any) -> object:
        tool = (await toolset.get_tools(context))["echo"]
        return await toolset.call_tool("echo", ARGUMENTS, context, tool)

    return lambda: call(adapted), lambda: call(bare)


def smolagents(toolkit: Toolkit) -> tuple[Call, Call | None]:
    """A `Tool` of smolagents, called from a thread, against one made of a function that comes home as ours does."""
    from jackfield.session.session_loop import Home

    (adapted,) = toolkit.smolagents()
    home, neutral = Home(), toolkit["echo"]
    import smolagents

    @smolagents.tool
    def echo(text: str) -> str:
        """Say it again.

        Args:
            text: What.
        """
        return home.run_blocking(lambda: neutral.call({"text": text})).text

    return lambda: asyncio.to_thread(adapted, **ARGUMENTS), lambda: asyncio.to_thread(echo, **ARGUMENTS)


ADAPTERS = [autogen, langchain, ag2, openai_agents, pydantic_ai, smolagents, openai, anthropic, gemini]


async def seconds(call: Call, calls: int) -> float:
    """Of one call, one after another."""
    gc.collect()
    started = time.perf_counter()
    for _ in range(calls):
        await call()
    return (time.perf_counter() - started) / calls


async def compare(calls: int, rounds: int) -> list[Row]:
    """A row for each adapter."""
    config = StdioConfig(server_name="benchmark", command=sys.executable, args=[SERVER])
    catalog = Catalog(tempfile.mkdtemp(prefix="jackfield-bench-"))
    rows: list[Row] = []
    async with MCPClientSessionManager(catalog=catalog).open_session(config) as session:
        toolkit = (await create_toolkit(session)).filtered(include=["echo"])
        neutral = toolkit["echo"]
        for adapter in ADAPTERS if rounds > 1 else [openai, autogen]:
            adapted, bare = adapter(toolkit)
            ways: dict[str, Call] = {"neutral": lambda: neutral.call(ARGUMENTS), "adapted": adapted}
            if bare is not None:
                ways["bare"] = bare
            samples: dict[str, list[float]] = {name: [] for name in ways}
            for number in range(rounds + 1 if rounds > 1 else 1):
                for name, call in ways.items() if number % 2 == 0 else reversed(ways.items()):
                    took = await seconds(call, calls)
                    if number or rounds == 1:
                        samples[name].append(took)
            rows.append(row_of("adapters", adapter.__name__, samples, base="neutral"))
    return rows


def measure(plan: Plan) -> list[Row]:
    """All rows."""
    return asyncio.run(compare(2 if plan.quick else 30, plan.rounds(5)))
