"""A one-off research script without an event loop: open a session, ask, close. Nothing is left behind.

Run: python examples/one_off_research.py [words to look for]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from jackfield import JackfieldError, MCPClientSessionManager, StdioConfig

SERVER = Path(__file__).parent / "research_assistant" / "servers" / "arxiv_server.py"
ARXIV = StdioConfig(server_name="ArxivServer", command=sys.executable, args=[str(SERVER), "stdio"])


def main(query: str) -> int:
    """Print the three papers that fit the query best; returns the exit code."""
    manager = MCPClientSessionManager()
    started = time.monotonic()
    try:
        with manager.open_session_sync(ARXIV) as session:
            print(
                f"{session.server_name} opened in {time.monotonic() - started:.2f} s (MCP {session.protocol_version})"
            )

            # `data` is what the tool returned as Python values; `text` is what a model would read.
            hits = session.call_tool("search_papers", {"query": query, "limit": 3}).data
            print(f"{len(hits)} papers for {query!r}:")
            for hit in hits:
                paper = session.call_tool("get_paper", {"paper_id": hit["id"]}).data
                print(f"\n  {paper['title']}\n  {', '.join(paper['authors'])}, {paper['published']}, {paper['id']}")
                print(f"  {paper['abstract'].partition('. ')[0]}.")
    except JackfieldError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\nClosed after {time.monotonic() - started:.2f} s; sessions open: {len(manager.sessions())}")
    return 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:]) or "sleep and memory"))
