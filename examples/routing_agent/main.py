"""A routing agent: two tools for eight servers of three transports, of which only the called ones are started.

The catalog remembers what each server offers, so that the agent searches with none of them open. The model is
scripted, so that no key is needed; the servers, the search, the calls and the answers are real.

Run: python examples/routing_agent/main.py
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
# ruff: noqa: E402 - the examples share their scripted model

from autogen_agentchat.agents import AssistantAgent
from research_assistant.elsewhere import SERVERS, running_elsewhere
from research_assistant.scripted import Call, Script, ScriptedModel

from jackfield import (
    Catalog,
    Event,
    HttpConfig,
    MCPClientSessionManager,
    MCPConfig,
    SessionOpened,
    SseConfig,
    StdioConfig,
)

TOOLBOX = str(HERE / "toolbox.py")
QUESTION = "How far is a jack field's plug of 0.25 inch in metres, and what does the encyclopedia say of jack fields?"


def child(name: str, *command: str) -> StdioConfig:
    """A server that would be started as a child process."""
    return StdioConfig(server_name=name, command=sys.executable, args=[*command, "stdio"])


def config_of(elsewhere: ExitStack) -> MCPConfig:
    """Four servers over stdio, two over SSE and two over Streamable HTTP."""

    def url(script: str, transport: str, *arguments: str) -> str:
        return elsewhere.enter_context(running_elsewhere(script, transport, *arguments)).url

    return MCPConfig(
        servers=[
            child("papers", str(SERVERS / "arxiv_server.py")),
            child("calculator", TOOLBOX, "calculator"),
            child("units", TOOLBOX, "units"),
            child("words", TOOLBOX, "words"),
            SseConfig(server_name="encyclopedia", url=url("wikipedia_server.py", "sse")),
            SseConfig(server_name="clock", url=url(TOOLBOX, "sse", "clock")),
            HttpConfig(server_name="notes", url=url("notes_server.py", "streamable-http"), protocol="handshake"),
            HttpConfig(server_name="dice", url=url(TOOLBOX, "streamable-http", "dice")),
        ]
    )


def answer() -> Script:
    """What the model does: search for two things at once, then call what was found."""
    (found,) = yield [Call("find_tools", {"queries": ["convert inches to metres", "read an encyclopedia article"]})]
    print("\n".join(f"  | {line}" for line in found.text.splitlines()))
    convert = {"tool": "units.convert_length", "arguments": {"value": 0.25, "unit": "inch", "into": "metre"}}
    read = {"tool": "encyclopedia.read_article", "arguments": {"title": "Jack field"}}
    length, article = yield [Call("call_tool", convert), Call("call_tool", read)]
    return f"{length.text} metres. {article.item['text'].partition('.')[0]}."


async def main() -> None:
    """Fill the catalog, then answer a question, and say which servers were started for it."""
    with ExitStack() as elsewhere, tempfile.TemporaryDirectory() as cache:
        config = config_of(elsewhere)
        catalog = Catalog(cache)
        async with MCPClientSessionManager(config, catalog=catalog) as manager:
            refresh = await manager.refresh_catalog()
        print(f"The catalog knows {len(refresh.diffs)} servers: {', '.join(config.names)}.")

        seen: list[Event] = []
        async with MCPClientSessionManager(config, catalog=catalog, on_event=seen.append) as manager:
            router = manager.router()
            agent = AssistantAgent(
                "agent",
                ScriptedModel({QUESTION: answer}),
                workbench=router.workbench(),
                # Finding and then calling takes two rounds at least; AgentChat makes one by default.
                max_tool_iterations=10,
            )
            print(f"The agent has {', '.join(router.toolkit().names)}. Open: {len(manager.sessions())}.")
            print(f"\nQuestion: {QUESTION}")
            result = await agent.run(task=QUESTION)
            print(f"Answer:   {result.messages[-1].to_text()}")  # type: ignore[union-attr]
            opened = [event.server_name for event in seen if isinstance(event, SessionOpened)]
            print(f"\nStarted or connected: {', '.join(sorted(opened))}.")
            print(f"Never touched: {', '.join(name for name in config.names if name not in opened)}.")
    print(f"Afterwards open: {len(manager.sessions())}")


if __name__ == "__main__":
    asyncio.run(main())
