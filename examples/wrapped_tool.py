"""AG2's pattern: a function is the tool, and opens the session that it needs itself.

To the outer agent `ask_papers` is a function like any other. Inside, a session is opened, a second agent works
with the server's tools, and when the function returns nothing of it is left. Both models are scripted, so that
no key is needed; the server and its results are real.

Run: python examples/wrapped_tool.py
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from autogen_agentchat.agents import AssistantAgent
from research_assistant.scripted import Script, ScriptedModel, call

from jackfield import MCPClientSessionManager, StdioConfig, create_toolkit

SERVER = Path(__file__).parent / "research_assistant" / "servers" / "arxiv_server.py"
ARXIV = StdioConfig(server_name="ArxivServer", command=sys.executable, args=[str(SERVER), "stdio"])

TASK = "Which paper should I read on prompt injection by tools?"


def read_best_paper() -> Script:
    """What the inner model does: search, read, report."""
    (hits,) = yield [call("search_papers", query="prompt injection tool metadata", limit=2)]
    (paper,) = yield [call("get_paper", paper_id=hits.item["id"])]
    found = paper.item
    return f"{found['title']} by {' and '.join(found['authors'])}: {found['abstract'].partition('. ')[0]}."


def delegate() -> Script:
    """What the outer model does: hand the question on."""
    (report,) = yield [call("ask_papers", question=TASK)]
    return f"Read this: {report.text}"


async def ask_papers(question: str) -> str:
    """Answer a question from the library of papers."""
    async with MCPClientSessionManager().open_session(ARXIV) as session:
        toolkit = await create_toolkit(session)
        print(f"  {session.server_name} is open as process {session.process_id}, with {', '.join(toolkit.names)}")
        reader = AssistantAgent(
            "reader",
            ScriptedModel({question: read_best_paper}),
            tools=toolkit.autogen(),
            max_tool_iterations=10,
        )
        report = await reader.run(task=question)
    print(f"  {session!r}")
    return report.messages[-1].to_text()  # type: ignore[union-attr]


async def main() -> None:
    """Ask one question."""
    assistant = AssistantAgent("assistant", ScriptedModel({TASK: delegate}), tools=[ask_papers], max_tool_iterations=5)
    print(f"Question: {TASK}  (The models are scripted.)")
    answer = await assistant.run(task=TASK)
    print(f"Answer: {answer.messages[-1].to_text()}")  # type: ignore[union-attr]


if __name__ == "__main__":
    asyncio.run(main())
