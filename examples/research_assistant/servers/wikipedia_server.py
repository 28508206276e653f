"""WikipediaServer: a small encyclopedia, over SSE. Run: python wikipedia_server.py sse [--port N]"""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field
from search import TextIndex

from serving import run

server = MCPServer(
    "WikipediaServer", instructions="Search articles first, then read one by its title.", log_level="WARNING"
)
articles = TextIndex("articles.jsonl", key="title", weights={"title": 6.0, "summary": 2.0, "sections": 1.0})
READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True)


class ArticleHit(BaseModel):
    title: str
    summary: str


class Article(BaseModel):
    title: str
    text: str
    sections: list[str]
    see_also: list[str]


@server.tool(annotations=READ_ONLY)
def search_articles(query: str, limit: Annotated[int, Field(ge=1, le=50)] = 5) -> list[ArticleHit]:
    """Search the encyclopedia by words, best match first.

    Args:
        query: Words to look for.
        limit: How many at the most.
    """
    return [ArticleHit(title=hit["title"], summary=hit["summary"]) for hit in articles.search(query, limit)]


@server.tool(annotations=READ_ONLY)
def read_article(title: str, section: str | None = None) -> Article:
    """Read an article, whole or one section of it.

    Args:
        title: As search_articles gives it.
        section: A heading of the article; the whole article if left out.
    """
    article = articles.get(title)
    sections = {part["heading"]: part["text"] for part in article["sections"]}
    if section is not None and section not in sections:
        raise ToolError(f"{article['title']!r} has no section {section!r}. Its sections: {', '.join(sections)}.")
    whole = "\n\n".join([article["summary"], *(f"{heading}\n{text}" for heading, text in sections.items())])
    text = whole if section is None else sections[section]
    return Article(title=article["title"], text=text, sections=list(sections), see_also=article["see_also"])


@server.tool(annotations=READ_ONLY)
def related_articles(title: str) -> list[str]:
    """Titles of articles on related things: those it names first, then those with the same words.

    Args:
        title: As search_articles gives it.
    """
    article = articles.get(title)
    # Titles only: the common words of whole sentences would find articles on anything.
    words = " ".join([article["title"], *article["see_also"]])
    others = [hit["title"] for hit in articles.search(words, 8)]
    return list(dict.fromkeys([*article["see_also"], *(other for other in others if other != article["title"])]))[:6]


if __name__ == "__main__":
    run(server, "sse")
