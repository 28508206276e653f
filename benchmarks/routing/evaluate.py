"""How well tools are found.

    python benchmarks/routing/evaluate.py [--data DIR] [--embedder] [--peers]

For whoever works on the ranking; `make bench` puts the same, and what it costs, on docs/benchmarks.md.

`--data` names a folder with the shared data, or with `catalog.json` and `queries.jsonl` as in `data/` here. By default
the shared data beside the repository, or where `JACKFIELD_ROUTING_DATA` says, is used where it is present, and our own
set always. `--peers` compares with
a plain BM25 over names and descriptions, and with fastmcp's where `--fastmcp` names an environment that has it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jackfield.catalog.search import ToolSearch, embedded_texts
from jackfield.catalog.tools import ServerEntry, ToolEntry
from jackfield.catalog.words import without_values

HERE = Path(__file__).parent
SHARED_DATA = Path(os.environ.get("JACKFIELD_ROUTING_DATA") or HERE.parents[2] / "shared" / "routing_data")
DATA_OF_OURS = HERE / "data"

Ranker = Callable[[str], list[ToolEntry]]


@dataclass
class Query:
    """One query and the tools that serve it, as `server/tool`."""

    text: str
    kind: str
    gold: frozenset[str]


@dataclass
class Figures:
    """What came of a set."""

    queries: int = 0
    recall: dict[int, float] = field(default_factory=dict[int, float])
    server: float = 0.0
    exact: float = 0.0
    unanswered: float = 0.0
    """Share of the queries that are answered with nothing, although a tool serves them."""
    weak: float = 0.0
    """Share of them whose answers are marked as weak matches."""
    weak_unserved: float = 0.0
    """The same of queries that no tool serves."""
    abstention_auc: float | None = None
    milliseconds: float = 0.0


def load_set(folder: Path) -> tuple[list[ServerEntry], list[Query]]:
    """A catalog and its queries, in the shared shape or in ours."""
    shared = (folder / "livemcpbench_catalog.json").exists()
    catalog = json.loads((folder / ("livemcpbench_catalog.json" if shared else "catalog.json")).read_text())
    lines = (folder / ("livemcpbench_steps.jsonl" if shared else "queries.jsonl")).read_text().splitlines()
    queries = [_query(json.loads(line)) for line in lines]
    servers = [_server(entry) for entry in catalog]
    if shared:
        # Exact names are not in the shared queries: every tool whose name is unique is asked for by it.
        names = Counter(tool.name for server in servers for tool in server.tools)
        queries += [
            Query(tool.name, "exact", frozenset({f"{server.name}/{tool.name}"}))
            for server in servers
            for tool in server.tools
            if names[tool.name] == 1
        ]
    return servers, queries


@dataclass(frozen=True)
class ToolSet:
    """A catalog and queries that tools of it serve."""

    name: str
    servers: Sequence[ServerEntry]
    queries: Sequence[Query]
    is_validation: bool
    """Only measured on: no miss of it was looked at."""


def all_sets() -> list[ToolSet]:
    """Those that are present: training sets first."""
    found = [ToolSet("our own", *load_set(DATA_OF_OURS), is_validation=False)]
    if not SHARED_DATA.exists():
        return found
    servers, queries = load_set(SHARED_DATA)
    plugins = [
        ServerEntry(name, "", [ToolEntry(name, name, about)])
        for name, about in json.loads((SHARED_DATA / "metatool_catalog.json").read_text()).items()
    ]
    agent = _validation("validation_agent_queries.jsonl", "agent")
    single, several = (_validation("validation_metatool_queries.jsonl", kind) for kind in ("single", "multi"))
    return [
        *found,
        ToolSet("LiveMCPBench", servers, queries, is_validation=False),
        ToolSet("agents", servers, agent, is_validation=True),
        ToolSet("MetaTool", plugins, single, is_validation=True),
        ToolSet("MetaTool, two", plugins, several, is_validation=True),
    ]


def _validation(file: str, kind: str) -> list[Query]:
    """The queries of one kind; of an agent's, every tool that its task takes counts."""
    lines = [json.loads(line) for line in (SHARED_DATA / file).read_text().splitlines()]
    return [
        _query({**line, "kind": "step", "gold": line.get("gold_task") or _of_plugins(line["gold"])})
        for line in lines
        if line["kind"] == kind
    ]


def _of_plugins(gold: Sequence[Sequence[str]]) -> list[str]:
    """A plugin is a server with one tool of its name."""
    return [f"{name}/{name}" for group in gold for name in group]


def _query(data: dict[str, Any]) -> Query:
    gold = [name for group in data["gold"] for name in ([group] if isinstance(group, str) else group)]
    return Query(data["query"], data.get("kind", "step"), frozenset(gold))


def _server(data: dict[str, Any]) -> ServerEntry:
    about = " ".join(part for part in (data.get("title"), data.get("description")) if part)
    tools = [
        ToolEntry(data["name"], tool["name"], tool.get("description") or "", input_schema=tool.get("inputSchema") or {})
        for tool in data["tools"]
    ]
    return ServerEntry(data["name"], about, tools)


def evaluate(servers: Sequence[ServerEntry], queries: Sequence[Query], embedder: Any = None) -> Figures:
    """The figures of our search on a set."""
    vectors = None
    if embedder is not None:
        from jackfield.catalog.vectors import mixed

        views = [embedded_texts(server, tool) for server in servers for tool in server.tools]
        flat = embedder([text for view in views for text in view])
        vectors = [mixed(flat[2 * number : 2 * number + 2]) for number in range(len(views))]
    search = ToolSearch(servers, vectors)
    best: dict[str, float] = {}
    weak: dict[str, bool] = {}

    def rank(query: str) -> list[ToolEntry]:
        vector = embedder([without_values(query)])[0] if embedder is not None else None
        hits = search.find(query, 5, query_vector=vector)
        more = search.find(query, 10, query_vector=vector)
        best[query] = hits[0].score if hits else 0.0
        weak[query] = not hits or hits[0].is_weak
        return [hit.tool for hit in [*hits, *(hit for hit in more if hit not in hits)]]

    figures = figures_of(rank, queries)
    steps = [query for query in queries if query.kind == "step"]
    figures.unanswered = sum(not best[query.text] for query in steps) / len(steps)
    figures.weak = sum(weak[query.text] for query in steps) / len(steps)
    right = [best[query.text] for query in queries if query.kind == "step"]
    unserved = [query.text for query in queries if query.kind == "none"]
    for text in unserved:
        rank(text)
    wrong = [best[text] for text in unserved]
    if wrong:
        wins = sum((one > other) + 0.5 * (one == other) for one in right for other in wrong)
        figures.weak_unserved = sum(weak[text] for text in unserved) / len(unserved)
        figures.abstention_auc = wins / (len(right) * len(wrong))
    return figures


def figures_of(rank: Ranker, queries: Sequence[Query]) -> Figures:
    """The figures of any ranking."""
    hits: Counter[int] = Counter()
    steps = [query for query in queries if query.kind == "step"]
    exact = [query for query in queries if query.kind == "exact"]
    servers, times = 0, []
    for query in steps:
        started = time.perf_counter()
        ranked = rank(query.text)
        times.append(time.perf_counter() - started)
        names = [f"{tool.server_name}/{tool.name}" for tool in ranked]
        for depth in (1, 5, 10):
            hits[depth] += any(name in query.gold for name in names[:depth])
        servers += bool(ranked) and ranked[0].server_name in {name.split("/")[0] for name in query.gold}
    named = 0
    for query in exact:
        ranked = rank(query.text)
        named += bool(ranked) and f"{ranked[0].server_name}/{ranked[0].name}" in query.gold
    return Figures(
        queries=len(steps),
        recall={depth: hits[depth] / len(steps) for depth in (1, 5, 10)},
        server=servers / len(steps),
        exact=named / len(exact) if exact else 1.0,
        milliseconds=statistics.median(times) * 1000,
    )


# Peers


def plain_bm25(servers: Sequence[ServerEntry]) -> Ranker:
    """BM25 over name and description, words as they stand, no fields."""
    tools = [tool for server in servers for tool in server.tools]
    documents = [re.findall(r"\w+", f"{tool.name} {tool.description}".lower().replace("_", " ")) for tool in tools]
    frequency = Counter(word for document in documents for word in set(document))
    average = sum(map(len, documents)) / len(documents)
    counts = [Counter(document) for document in documents]

    def rank(query: str) -> list[ToolEntry]:
        scores = [0.0] * len(tools)
        for word in set(re.findall(r"\w+", query.lower())):
            rarity = math.log(1 + (len(tools) - frequency[word] + 0.5) / (frequency[word] + 0.5))
            for number, count in enumerate(counts):
                if have := count[word]:
                    length = 0.25 + 0.75 * len(documents[number]) / average
                    scores[number] += rarity * have * 2.2 / (have + 1.2 * length)
        order = sorted(range(len(tools)), key=lambda number: -scores[number])
        return [tools[number] for number in order[:10] if scores[number] > 0]

    return rank


def fastmcp_bm25(python: str, servers: Sequence[ServerEntry], queries: Sequence[Query]) -> tuple[str, Ranker, float]:
    """fastmcp's own ranking, by the interpreter of an environment that has it: its version, ranking, ms a query."""
    tools = [tool for server in servers for tool in server.tools]
    given = {"tools": [definition(tool) for tool in tools], "queries": [query.text for query in queries]}
    script = str(HERE / "fastmcp_ranks.py")
    answer = subprocess.run([python, script], input=json.dumps(given), capture_output=True, text=True, check=True)
    data = json.loads(answer.stdout)
    ranks = data["ranks"]
    return data["version"], lambda query: [tools[number] for number in ranks[query]], data["milliseconds"]


# Showing


def show(name: str, figures: Figures) -> None:
    recall = "  ".join(f"@{depth} {share:.3f}" for depth, share in figures.recall.items())
    auc = f"  abstention AUC {figures.abstention_auc:.3f}" if figures.abstention_auc is not None else ""
    print(
        f"  {name:26} recall {recall}  server@1 {figures.server:.3f}  exact {figures.exact:.3f}"
        f"  {figures.milliseconds:.2f} ms/query{auc}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--embedder", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--fastmcp", metavar="PYTHON", help="the interpreter of an environment with fastmcp")
    options = parser.parse_args()
    folders = [options.data] if options.data else [folder for folder in (SHARED_DATA, DATA_OF_OURS) if folder.exists()]
    for folder in folders:
        servers, queries = load_set(folder)
        count = sum(len(server.tools) for server in servers)
        started = time.perf_counter()
        ToolSearch(servers)
        built = (time.perf_counter() - started) * 1000
        steps = sum(query.kind == "step" for query in queries)
        print(f"{folder.name}: {len(servers)} servers, {count} tools, {steps} step queries; index in {built:.0f} ms")
        show("jackfield, words", evaluate(servers, queries))
        if options.embedder:
            from jackfield import offline_embedder

            show("jackfield, and meaning", evaluate(servers, queries, offline_embedder()))
        if options.peers:
            show("plain BM25", figures_of(plain_bm25(servers), queries))
            if options.fastmcp:
                version, peer, milliseconds = fastmcp_bm25(options.fastmcp, servers, queries)
                figures = figures_of(peer, queries)
                figures.milliseconds = milliseconds
                show(f"fastmcp {version}", figures)


def definition(tool: ToolEntry) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.input_schema)}


if __name__ == "__main__":
    main()
