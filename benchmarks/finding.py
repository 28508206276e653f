"""Finding tools: how well, how fast, and how much of the prompt it saves."""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jackfield import Catalog, MCPClientSessionManager, MCPConfig, StdioConfig, offline_embedder
from jackfield.catalog.search import ToolSearch
from jackfield.catalog.tools import ServerEntry

from .arena import Plan
from .figures import Cell, Figure, Row, row_of
from .routing.evaluate import (
    DATA_OF_OURS,
    Figures,
    Query,
    definition,
    evaluate,
    fastmcp_bm25,
    figures_of,
    load_set,
    plain_bm25,
)

ASKED = "search the web"


def measure(plan: Plan) -> list[Row]:
    """All rows."""
    ours = load_set(DATA_OF_OURS)
    sets = {"our own set": ours}
    if plan.routing_data:
        sets = {"LiveMCPBench": load_set(plan.routing_data), **sets}
    rows = [row for name, (servers, queries) in sets.items() for row in quality(name, servers, queries, plan)]
    rows += [speed(count, *ours, plan) for count in (500, 5000)]
    name, (servers, _) = next(iter(sets.items()))
    return [*rows, tokens("tokens", name, servers)]


def quality(name: str, servers: Sequence[ServerEntry], queries: Sequence[Query], plan: Plan) -> list[Row]:
    """How well each ranking finds what serves a query."""
    tried: dict[str, Figures] = {"jackfield": evaluate(servers, queries)}
    if not plan.quick:
        tried["jackfield_meaning"] = evaluate(servers, queries, offline_embedder())
    tried["plain"] = figures_of(plain_bm25(servers), queries)
    if plan.peers:
        _, ranker, _ = fastmcp_bm25(str(plan.peers / "fastmcp_client/bin/python"), servers, queries)
        tried["fastmcp"] = figures_of(ranker, queries)
    measures: dict[str, Callable[[Figures], float]] = {
        "a right tool is the first": lambda figures: figures.recall[1],
        "... among the first 5": lambda figures: figures.recall[5],
        "... among the first 10": lambda figures: figures.recall[10],
        "the right server is the first": lambda figures: figures.server,
        "a tool's exact name is found first": lambda figures: figures.exact,
    }
    count = f"{len(servers)} servers, {sum(len(server.tools) for server in servers)} tools, "
    count += f"{sum(query.kind == 'step' for query in queries)} queries"
    return [
        Row(
            f"recall, {name}: {count}",
            measured,
            "share",
            {who: Cell(Figure.of([value(figures)])) for who, figures in tried.items()},
        )
        for measured, value in measures.items()
    ]


def many(servers: Sequence[ServerEntry], count: int) -> list[ServerEntry]:
    """So many tools, of copies with names of their own."""
    copies = math.ceil(count / sum(len(server.tools) for server in servers))
    found: list[ServerEntry] = []
    for number in range(copies):
        for server in servers:
            name = f"{server.name}{number}"
            tools = [replace(tool, server_name=name, name=f"{tool.name}{number}") for tool in server.tools[:count]]
            count -= len(tools)
            if tools:
                found.append(ServerEntry(name, server.about, tools))
    return found


def speed(count: int, servers: Sequence[ServerEntry], queries: Sequence[Query], plan: Plan) -> Row:
    """Seconds a query among so many tools, of each query once."""
    asked = queries[:5] if plan.quick else queries
    catalog = many(servers, count)
    search, plain = ToolSearch(catalog), plain_bm25(catalog)
    samples = {"jackfield": times(search.find, asked), "plain": times(plain, asked[:40])}
    if not plan.quick:
        samples["jackfield_meaning"] = times(with_meaning(catalog), asked)
    row = row_of("finding", f"in {count:,} tools", samples, at=count)
    if plan.peers:
        _, _, milliseconds = fastmcp_bm25(str(plan.peers / "fastmcp_client/bin/python"), catalog, asked)
        row.cells["fastmcp"] = Cell(Figure.of([milliseconds / 1000]))
    return row


def with_meaning(servers: Sequence[ServerEntry]) -> Callable[[str], object]:
    """The search with the embedder that comes with the extra."""
    from jackfield.catalog.search import embedded_texts
    from jackfield.catalog.vectors import mixed
    from jackfield.catalog.words import without_values

    embedder: Any = offline_embedder()
    views = [embedded_texts(server, tool) for server in servers for tool in server.tools]
    flat = embedder([text for view in views for text in view])
    search = ToolSearch(servers, [mixed(flat[2 * number : 2 * number + 2]) for number in range(len(views))])
    return lambda query: search.find(query, query_vector=embedder([without_values(query)])[0])


def times(find: Callable[[str], object], queries: Sequence[Query]) -> list[float]:
    """Seconds of each query."""
    find(queries[0].text)
    seconds: list[float] = []
    for query in queries:
        started = time.perf_counter()
        find(query.text)
        seconds.append(time.perf_counter() - started)
    return seconds


def tokens(subject: str, name: str, servers: Sequence[ServerEntry]) -> Row:
    """What stands in the prompt: all definitions, or the router's two tools; and one answer of the search."""
    with_all = json.dumps([definition(tool) for server in servers for tool in server.tools])
    router = manager_of(servers).router(mode="search")
    given = [
        {"name": tool.name, "description": tool.description, "parameters": dict(tool.input_schema)}
        for tool in router.toolkit()
    ]
    texts = {"eager": with_all, "routed": json.dumps(given), "answer": asyncio.run(router.find_tools([ASKED]))}
    count = sum(len(server.tools) for server in servers)
    samples = {part: [float(tokens_of(text))] for part, text in texts.items()}
    return row_of(subject, f"{count:,} tools ({name})", samples, base="eager", unit="tokens", at=count)


def tokens_of(text: str) -> int:
    """Tokens by o200k."""
    from rs_bpe.bpe import openai  # pyright: ignore

    return int(openai.o200k_base().count(text))  # pyright: ignore


def manager_of(servers: Sequence[ServerEntry]) -> MCPClientSessionManager:
    """A manager whose catalog knows these servers; none of them can be started."""
    configs = [
        StdioConfig(server_name=server.name, command="no-such-command", args=[server.name]) for server in servers
    ]
    catalog = Catalog(tempfile.mkdtemp())
    for config, server in zip(configs, servers, strict=True):
        tools = [
            {"name": tool.name, "description": tool.description, "inputSchema": dict(tool.input_schema)}
            for tool in server.tools
        ]
        catalog.inside.record(config, tools, instructions=server.about, open_seconds=1.2)
    return MCPClientSessionManager(MCPConfig(servers=configs), catalog=catalog)  # type: ignore[arg-type]
