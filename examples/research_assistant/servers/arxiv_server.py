"""ArxivServer: a small, invented library of papers, over stdio. Run: python arxiv_server.py stdio"""

from __future__ import annotations

import difflib
from collections import Counter
from typing import Annotated

from mcp import MCPError
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import INVALID_PARAMS, ToolAnnotations
from pydantic import BaseModel, Field
from search import TextIndex

from serving import run

server = MCPServer("ArxivServer", instructions="Search papers first, then read one by its id.", log_level="WARNING")
papers = TextIndex("papers.jsonl", key="id", weights={"title": 4.0, "abstract": 1.0, "authors": 1.0})
READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True)


class PaperHit(BaseModel):
    id: str
    title: str
    published: str
    category: str


class Paper(BaseModel):
    id: str
    title: str
    authors: list[str]
    abstract: str
    categories: list[str]
    published: str


def category_named(name: str) -> str:
    """A category however its letters are cased; none of that name is an error, not an empty result."""
    by_lower = {category.lower(): category for category in list_categories()}
    if name.lower() in by_lower:
        return by_lower[name.lower()]
    close = [by_lower[other] for other in difflib.get_close_matches(name.lower(), by_lower, n=3)]
    meant = f"Did you mean {' or '.join(close)}?" if close else "See list_categories."
    raise ToolError(f"There is no category {name!r}. {meant}")


@server.tool(annotations=READ_ONLY)
def search_papers(
    query: str, category: str | None = None, limit: Annotated[int, Field(ge=1, le=50)] = 5
) -> list[PaperHit]:
    """Search the papers by the words of their titles and abstracts, best match first.

    Args:
        query: Words to look for.
        category: Only papers of this category, such as cs.CL; see list_categories.
        limit: How many at the most.
    """
    only = None if category is None else category_named(category)
    hits = papers.search(query, len(papers.records))
    wanted = [hit for hit in hits if only is None or only in hit["categories"]]
    return [
        PaperHit(id=hit["id"], title=hit["title"], published=hit["published"], category=hit["categories"][0])
        for hit in wanted[:limit]
    ]


@server.tool(annotations=READ_ONLY)
def get_paper(paper_id: str) -> Paper:
    """Read one paper: its authors, abstract and categories."""
    return Paper.model_validate(papers.get(paper_id))


@server.tool(annotations=READ_ONLY)
def list_categories() -> dict[str, int]:
    """All categories, and how many papers each has."""
    return dict(Counter(category for paper in papers.records.values() for category in paper["categories"]))


@server.resource("arxiv://categories", mime_type="text/plain")
def categories() -> str:
    """All categories, a line each."""
    return "\n".join(sorted(list_categories()))


@server.resource("arxiv://paper/{paper_id}", mime_type="text/plain")
def paper_text(paper_id: str) -> str:
    """One paper as plain text."""
    try:
        paper = papers.get(paper_id)
    except ToolError as unknown:
        # Outside of tools the SDK keeps the words of every other error from the client.
        raise MCPError(INVALID_PARAMS, str(unknown)) from None
    return f"{paper['title']}\n{', '.join(paper['authors'])} ({paper['published']})\n\n{paper['abstract']}"


@server.prompt()
def compare_papers(first_id: str, second_id: str) -> str:
    """Asks for a comparison of two papers."""
    return f"Compare these papers in three sentences:\n\n{paper_text(first_id)}\n\n---\n\n{paper_text(second_id)}"


if __name__ == "__main__":
    run(server, "stdio")
