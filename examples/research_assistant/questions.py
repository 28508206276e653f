"""The demo's three questions, and what the scripted model does for each. With a real model only they are used."""

from __future__ import annotations

from textwrap import shorten

from scripted import Script, call

FAILURES = "How often do tool calls of language model agents fail, and what helps?"
REEFS = "Why do coral reefs bleach, and what do papers find about it? Keep notes."
NOTES = "Which of my notes speak of heat?"


def failures() -> Script:
    """With one tool, `query_mcp_server`: pick a server, see its tools, use them."""

    def arxiv(tool_name: str, **arguments: object):
        return call("query_mcp_server", server_name="ArxivServer", tool_name=tool_name, arguments=arguments)

    yield [call("query_mcp_server", server_name="ArxivServer")]
    (hits,) = yield [arxiv("search_papers", query="tool calls of agents fail", limit=3)]
    (found,) = yield [arxiv("get_paper", paper_id=hits.item["id"])]
    paper = found.item
    return f'{_sentences(paper["abstract"], 1, 3)}\n\n"{paper["title"]}", {", ".join(paper["authors"])} ({paper["id"]})'


def reefs() -> Script:
    """With all tools of all servers: read, search, and write down what was found."""
    articles, papers = yield [
        call("search_articles", query="coral bleaching heat"),
        call("search_papers", query="coral reef bleaching heat stress", limit=3),
    ]
    article, *read = yield [
        call("read_article", title=articles.item["title"]),
        *(call("get_paper", paper_id=hit["id"]) for hit in papers.items),
    ]
    yield [call("open_notebook", name="reefs")]
    background, title = article.item["text"].split("\n")[0], article.item["title"]
    notes = [(background, ["article", title]), *((_finding(paper.item), ["paper"]) for paper in read)]
    yield [call("add_note", text=text, tags=tags) for text, tags in notes]
    (summary,) = yield [call("notebook_summary")]
    findings = "\n".join(f"- {_finding(paper.item)}" for paper in read)
    return f"{background} (article {title!r})\n\n{findings}\n\nWritten down as {summary.text}."


def notes() -> Script:
    """Only works in the session in which the notes were written."""
    found, everything = yield [call("search_notes", query="heat"), call("list_notes")]
    lines = "\n".join(f"- note {note['id']}: {shorten(note['text'], 90, placeholder=' ...')}" for note in found.items)
    return f"{len(found.items)} of {len(everything.items)} notes:\n{lines}"


SCRIPTS = {FAILURES: failures, REEFS: reefs, NOTES: notes}


def _finding(paper: dict[str, str]) -> str:
    """A paper in two lines: its title and what its abstract says second."""
    return f"{paper['title']} ({paper['id']}): {_sentences(paper['abstract'], 1, 2)}"


def _sentences(text: str, first: int, last: int) -> str:
    parts = text.replace("\n", " ").rstrip(".").split(". ")
    return ". ".join(parts[first:last] or parts[:1]) + "."
