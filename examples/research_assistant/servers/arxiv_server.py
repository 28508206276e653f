"""ArxivServer: a small, invented library of papers, over stdio. Run: python arxiv_server.py stdio"""

from __future__ import annotations

from collections import Counter

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations
from pydantic import BaseModel
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


@server.tool(annotations=READ_ONLY)
def search_papers(query: str, category: str | None = None, limit: int = 5) -> list[PaperHit]:
    """Search the papers by the words of their titles and abstracts, best match first.

    Args:
        query: Words to look for.
        category: Only papers of this category, such as cs.CL; see list_categories.
        limit: How many at the most.
    """
    hits = papers.search(query, len(papers.records))
    wanted = [hit for hit in hits if category is None or category in hit["categories"]]
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
    paper = papers.get(paper_id)
    return f"{paper['title']}\n{', '.join(paper['authors'])} ({paper['published']})\n\n{paper['abstract']}"


@server.prompt()
def compare_papers(first_id: str, second_id: str) -> str:
    """Asks for a comparison of two papers."""
    return f"Compare these papers in three sentences:\n\n{paper_text(first_id)}\n\n---\n\n{paper_text(second_id)}"


if __name__ == "__main__":
    run(server, "stdio")
