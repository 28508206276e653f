"""A routing agent: one tool for three servers. The agent picks the source, and only that server is started.

The model is scripted, so that no key is needed; the servers, the calls and the answers are real.

Run: python examples/multi_source_routing.py
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from autogen_agentchat.agents import AssistantAgent
from research_assistant.scripted import Script, ScriptedModel, call

from jackfield import MCPClientSessionManager, MCPConfig, StdioConfig

SERVERS = Path(__file__).parent / "research_assistant" / "servers"
PAPERS = "What was found out about starspots and exoplanets?"
MEANING = "What is a jack field?"


def server(name: str, script: str) -> StdioConfig:
    """One of the demo's servers as a child process."""
    return StdioConfig(server_name=name, command=sys.executable, args=[str(SERVERS / script), "stdio"])


CONFIG = MCPConfig(
    servers=[
        server("ArxivServer", "arxiv_server.py"),
        server("WikipediaServer", "wikipedia_server.py"),
        server("NotesServer", "notes_server.py"),
    ]
)


def ask_papers() -> Script:
    """What the model does for the first question."""
    query = {"query": "starspots exoplanet spectra", "limit": 1}
    (hit,) = yield [call("query_mcp_server", server_name="ArxivServer", tool_name="search_papers", arguments=query)]
    which = {"paper_id": hit.item["id"]}
    (paper,) = yield [call("query_mcp_server", server_name="ArxivServer", tool_name="get_paper", arguments=which)]
    return f"{paper.item['title']}: {paper.item['abstract']}"


def ask_encyclopedia() -> Script:
    """What the model does for the second one."""
    title = {"title": "Jack field"}
    (article,) = yield [
        call("query_mcp_server", server_name="WikipediaServer", tool_name="read_article", arguments=title)
    ]
    return article.item["text"]


async def main() -> None:
    """Ask both questions, and say after each which servers run."""
    model = ScriptedModel({PAPERS: ask_papers, MEANING: ask_encyclopedia})
    async with MCPClientSessionManager(CONFIG) as manager:
        router = AssistantAgent(
            "router",
            model,
            tools=[manager.query_tool()],
            system_message="Pick the server that knows: papers, an encyclopedia, or the user's own notes.",
            max_tool_iterations=10,
        )
        print(f"Servers: {', '.join(CONFIG.names)}. Open: {open_servers(manager)}. (The model is scripted.)")
        for question in (PAPERS, MEANING):
            print(f"\nQuestion: {question}")
            answer = await router.run(task=question)
            print(f"Answer:   {answer.messages[-1].to_text()}")  # type: ignore[union-attr]
            print(f"Open:     {open_servers(manager)}")
    print(f"\nAfterwards open: {open_servers(manager)}")


def open_servers(manager: MCPClientSessionManager) -> str:
    """The servers with a session, in words."""
    return ", ".join(session.server_name for session in manager.sessions()) or "none"


if __name__ == "__main__":
    asyncio.run(main())
