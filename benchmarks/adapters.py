"""What an adapter adds to a warm call over the neutral tool, on one session, in the same run.

    python benchmarks/adapters.py [--calls N] [--rounds N]

`over neutral` is the adapter's call against the neutral tool's. Frameworks do work of their own around every tool
(callbacks, tracing, messages); where they let one make a tool of a plain function, `the framework's own` is what a
bare function around the neutral tool costs there: that part is not ours to save.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from jackfield import MCPClientSessionManager, StdioConfig, Tool, Toolkit, create_toolkit

SERVER = str(Path(__file__).parent / "servers.py")
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
    from jackfield.adapters.home import Home

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
    started = time.perf_counter()
    for _ in range(calls):
        await call()
    return (time.perf_counter() - started) / calls


async def ratio(call: Call, other: Call, calls: int, rounds: int) -> list[float]:
    """Of a call's time to the other's, round by round, each round's halves in turn first."""
    await seconds(call, calls)
    ratios: list[float] = []
    for number in range(rounds):
        if number % 2:
            mine, theirs = await seconds(call, calls), await seconds(other, calls)
        else:
            theirs, mine = await seconds(other, calls), await seconds(call, calls)
        ratios.append(mine / theirs)
    return ratios


def shown(ratios: list[float]) -> str:
    """The median and the middle half."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f} ({low:.2f} to {high:.2f})"


async def compare(calls: int, rounds: int) -> None:
    """Print the table."""
    config = StdioConfig(server_name="benchmark", command=sys.executable, args=[SERVER])
    async with MCPClientSessionManager().open_session(config) as session:
        toolkit = await create_toolkit(session)
        tool: Tool = toolkit["echo"]

        def neutral() -> Awaitable[object]:
            return tool.call(ARGUMENTS)

        print(f"a warm call of the neutral tool: {await seconds(neutral, calls) * 1000:.3f} ms")
        own = "the framework's own"
        print(f"{'':<14}{'over neutral':<24}{own:<24}over {own}")
        for adapter in ADAPTERS:
            adapted, bare = adapter(toolkit)
            cells: list[Any] = [shown(await ratio(adapted, neutral, calls, rounds))]
            if bare is not None:
                cells += [
                    shown(await ratio(one, other, calls, rounds)) for one, other in ((bare, neutral), (adapted, bare))
                ]
            print(f"{adapter.__name__:<14}" + "".join(f"{cell:<24}" for cell in cells).rstrip())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    asyncio.run(compare(options.calls, options.rounds))


main()
