"""Jackfield's main demo: an AutoGen agent answers questions with three MCP servers, opened on demand.

ArxivServer is a program that Jackfield starts when it is needed (stdio). WikipediaServer (SSE) and NotesServer
(Streamable HTTP) run elsewhere. No key and no network are needed: without `--model` the model is scripted, and
all the rest is real.

Run: python examples/research_assistant/main.py [--model gpt-... | claude-...] [--question TEXT ...]
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import ChatCompletionClient
from elsewhere import SERVERS, running_elsewhere
from leftovers import descendants, still_running
from model import ModelMissingError, real_model
from questions import SCRIPTS
from screen import Screen
from scripted import ScriptedModel

from jackfield import HttpConfig, MCPClientSessionManager, MCPConfig, SseConfig, StdioConfig

# Whose sessions these are. Both agents use the same ones: what one opened, the other finds open.
KEY = "ada"

INSTRUCTIONS = "You are a research assistant. Use the tools; say what you found and where, in a few sentences."


def servers(wikipedia_url: str, notes_url: str) -> MCPConfig:
    """The three servers. Nothing is started or reached by saying so."""
    return MCPConfig(
        servers=[
            StdioConfig(
                server_name="ArxivServer", command=sys.executable, args=[str(SERVERS / "arxiv_server.py"), "stdio"]
            ),
            SseConfig(server_name="WikipediaServer", url=wikipedia_url),
            # Notes live as long as their session, and only the older protocol has sessions over HTTP.
            HttpConfig(server_name="NotesServer", url=notes_url, protocol="handshake"),
        ]
    )


async def research(config: MCPConfig, model: ChatCompletionClient, questions: Sequence[str], screen: Screen) -> None:
    """Answer the questions, the first with one tool for all servers, the others with all their tools."""
    async with MCPClientSessionManager(config, on_event=screen.on_event) as manager:
        screen.manager_entered(manager.sessions())

        # One tool, query_mcp_server(server_name, ...): only the server that the agent picks is opened.
        picking = AssistantAgent(
            "picking",
            model,
            tools=[manager.query_tool(key=KEY)],
            system_message=INSTRUCTIONS,
            max_tool_iterations=10,
        )
        # All tools of all servers: those not yet open are opened together when the agent first lists them.
        reading = AssistantAgent(
            "reading",
            model,
            workbench=manager.workbench(key=KEY),
            system_message=INSTRUCTIONS,
            max_tool_iterations=10,
        )
        for number, question in enumerate(questions, 1):
            agent, way = (
                (picking, "one tool, query_mcp_server: only the server it names is opened")
                if number == 1
                else (reading, "the tools of all servers, which are opened together to list them")
                if number == 2
                else (reading, "the same sessions: what it wrote before is still there")
            )
            screen.asked(number, question, way)
            async for message in agent.run_stream(task=question):
                screen.on_message(message)
            screen.answered()
    screen.manager_left(manager.sessions(), still_running(screen.board.process_ids), others=2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description="A research assistant over three MCP servers, opened on demand.")
    parser.add_argument("--model", help="a real model, gpt-... or claude-..., by the key in your environment")
    parser.add_argument("--question", action="append", help="a question of your own; can be repeated; needs --model")
    parser.add_argument("--pace", type=float, metavar="SECONDS", help="the scripted model's wait before each step")
    options = parser.parse_args(arguments)
    if options.question and not options.model:
        parser.error("--question needs a real model: add --model gpt-... or --model claude-...")
    screen = Screen()
    pace = options.pace if options.pace is not None else 0.6 if screen.is_live else 0.0
    try:
        model = real_model(options.model) if options.model else ScriptedModel(SCRIPTS, pace)
    except ModelMissingError as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 2
    questions = options.question or list(SCRIPTS)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))  # close as for Ctrl-C

    code = 0
    try:
        with (
            screen,
            running_elsewhere("wikipedia_server.py", "sse") as wikipedia,
            running_elsewhere("notes_server.py", "streamable-http") as notes,
        ):
            config = servers(wikipedia.url, notes.url)
            screen.title(options.model, config)
            asyncio.run(research(config, model, questions, screen))
    except KeyboardInterrupt:
        screen.interrupted()
        code = 130
    except Exception as error:
        if not options.model:
            raise
        # Each vendor has errors of its own; what they say is what the user can act on.
        screen.stopped(f"{type(error).__name__}: {error}")
        code = 1
    left = descendants(screen.board.process_ids)
    screen.ended(left)
    return code or (1 if left else 0)


if __name__ == "__main__":
    sys.exit(main())
