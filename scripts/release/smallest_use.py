"""The smallest real use of each extra, of a server in this very file: `python smallest_use.py EXTRA`.

Run with `-W error`: what is warned of here is a fault, but for what a framework itself warns of when it is imported.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import jackfield
from jackfield import MCPClientSessionManager, MCPConfig, StdioConfig, Toolkit, create_toolkit

SERVER = StdioConfig(server_name="adder", command=sys.executable, args=[__file__, "serve"])

FRAMEWORKS = {
    "ag2": ["ag2" if importlib.util.find_spec("ag2") else "autogen"],
    "autogen": ["autogen_agentchat.agents", "autogen_core"],
    "langchain": ["langchain.agents", "langchain_core.tools"],
    "openai-agents": ["agents"],
    "pydantic-ai": ["pydantic_ai"],
    "smolagents": ["smolagents"],
}


def serve() -> None:
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("adder")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    server.run("stdio")


async def core() -> str:
    async with MCPClientSessionManager().open_session(SERVER) as session:
        return (await session.call_tool("add", {"a": 1, "b": 2})).text


def of_toolkit(use: Callable[[Toolkit], Awaitable[str]]) -> Callable[[], str]:
    """Give it the tools of an open session."""

    async def main() -> str:
        async with MCPClientSessionManager().open_session(SERVER) as session:
            return await use(await create_toolkit(session=session))

    return lambda: asyncio.run(main())


async def ag2(toolkit: Toolkit) -> str:
    if importlib.util.find_spec("ag2") is None:  # 0.x
        [tool] = toolkit.ag2().tools
        return await tool(a=1, b=2)
    from ag2 import Agent
    from ag2.events import ToolCallEvent, ToolResultEvent
    from ag2.testing import TestConfig

    model = TestConfig(ToolCallEvent("add", arguments='{"a": 1, "b": 2}'), "done")
    reply = await Agent("a", config=model, tools=[toolkit.ag2()]).ask("Add.")
    [event] = [event for event in await reply.history.get_events() if isinstance(event, ToolResultEvent)]
    return event.result.parts[0].content


async def autogen(toolkit: Toolkit) -> str:
    from autogen_core import CancellationToken

    [tool] = toolkit.autogen()
    return tool.return_value_as_string(await tool.run_json({"a": 1, "b": 2}, CancellationToken()))


async def langchain(toolkit: Toolkit) -> str:
    [tool] = toolkit.langchain()
    return await tool.ainvoke({"a": 1, "b": 2})


async def openai_agents(toolkit: Toolkit) -> str:
    from agents.tool_context import ToolContext

    [tool] = toolkit.openai_agents()
    arguments = '{"a": 1, "b": 2}'
    context = ToolContext(None, tool_name=tool.name, tool_call_id="1", tool_arguments=arguments)
    return await tool.on_invoke_tool(context, arguments)


async def pydantic_ai(toolkit: Toolkit) -> str:
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel

    run = await Agent(TestModel(), toolsets=[toolkit.pydantic_ai()]).run("Add.")
    assert "add" in run.output, run.output
    return "3"


async def smolagents(toolkit: Toolkit) -> str:
    [tool] = toolkit.smolagents()
    return str(await asyncio.to_thread(tool, a=1, b=2))


def cli() -> str:
    command = [sys.executable, "-W", "error", "-m", "jackfield"]
    subprocess.run([*command, "--help"], check=True, stdout=subprocess.DEVNULL)
    call = [*command, "call", "--stdio", f"{sys.executable} {__file__} serve", "add", "a=1", "b=2"]
    ran = subprocess.run(call, check=True, capture_output=True, text=True)
    assert ran.stderr == "", ran.stderr
    return ran.stdout.strip()


def embedding() -> str:
    sea, ocean, tax = jackfield.offline_embedder()(["the sea", "the ocean", "income tax"])
    near, far = (sum(a * b for a, b in zip(sea, other, strict=True)) for other in (ocean, tax))
    return "3" if near > far else "no meaning"


def fastembed() -> str:
    """Without a model, which would have to be downloaded: that there is none is what it finds out."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            jackfield.sentence_embedder(folder=folder)
        except jackfield.ConfigError as error:
            return "3" if "no model for ONNX" in str(error) else str(error)
    return "a model"


def backend(name: str, url: str) -> Callable[[], str]:
    """Of served sessions, without its service: that there is none is what its driver finds out."""

    def use() -> str:
        serving = importlib.import_module("jackfield.serving")

        async def main() -> str:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = taken.getsockname()[1]
            try:
                async with getattr(serving, name)(url.format(port=port)).sessions.open(ttl=60):
                    return "a service"
            except serving.StoreUnavailableError:
                return "3"

        return asyncio.run(main())

    return use


def trio() -> str:
    return importlib.import_module("trio").run(core)


def yaml() -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mcp.yaml"
        file.write_text(f"mcpServers:\n  adder:\n    command: {sys.executable}\n    args: [{__file__}, serve]\n")
        config = MCPConfig.load(file)
        with MCPClientSessionManager(config).open_session_sync("adder") as session:
            return session.call_tool("add", {"a": 1, "b": 2}).text


USES: dict[str, Callable[[], str]] = {
    "none": lambda: asyncio.run(core()),
    "ag2": of_toolkit(ag2),
    "autogen": of_toolkit(autogen),
    "cli": cli,
    "embedding": embedding,
    "fastembed": fastembed,
    "langchain": of_toolkit(langchain),
    "openai-agents": of_toolkit(openai_agents),
    "postgres": backend("PostgresBackend", "postgresql://user@127.0.0.1:{port}/none"),
    "pydantic-ai": of_toolkit(pydantic_ai),
    "redis": backend("RedisBackend", "redis://127.0.0.1:{port}"),
    "smolagents": of_toolkit(smolagents),
    "trio": trio,
    "yaml": yaml,
}

if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for module in FRAMEWORKS.get(sys.argv[1], []):
                importlib.import_module(module)
        # AG2 0.x on Python 3.14.
        warnings.filterwarnings("ignore", "'asyncio", DeprecationWarning, "autogen")
        result = USES[sys.argv[1]]()
        assert result == "3", result
