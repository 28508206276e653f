"""`docs/benchmarks.md`, generated from the results. All figures in its text come from the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .about import DISTRIBUTIONS
from .arena import FRAMEWORKS, OURS, PEERS, RAW
from .figures import Cell, Results, Row
from .overview import PICTURE, picture, sentences
from .page_growth import growth
from .tables import RAW_1, ahead, ahead_of, duration, noted, short, table, times, to_one_base, to_own_base, verdict

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
SERVING = Path(__file__).parent / "serving" / "results.md"
GATEWAY = Path(__file__).parent / "gateway" / "results.md"
PICTURES = DOCS / "images" / "benchmarks"
ONE_BASE = "All clients relative to one base, the raw SDK in Jackfield's environment:"
CONTESTANTS = [OURS, *PEERS]

OTHERS: dict[str, list[str]] = {
    "jackfield_langchain": ["langchain_session", "langchain_get_tools"],
    "jackfield_autogen": ["autogen"],
    "jackfield_ag2": ["ag2"],
}
"""Other sources of tools for each framework."""

RANKINGS = {
    "jackfield": "Jackfield, words only",
    "jackfield_meaning": "Jackfield, words and meaning",
    "fastmcp": "fastmcp's BM25",
    "plain": "plain BM25",
}


def written(results: Results, page: Path, pictures: Path) -> None:
    """Write the page and its pictures."""
    from .plots import written as drawn

    drawn(results, pictures)
    if overview := picture(results):
        (pictures / PICTURE).write_text(overview)
    page.write_text(rendered(results))


def rendered(results: Results) -> str:
    """The whole page."""
    return "\n\n".join(text.strip() for part in PARTS if (text := part(results))) + "\n"


def head(results: Results) -> str:
    """Purpose, machine and versions, and how to read the figures."""
    about = results.about
    machine, versions = about["machine"], about["versions"]
    ours = versions[""]
    rows = [["Jackfield, raw SDK", f"mcp {ours['mcp']}", _rest(ours, ("mcp", "jackfield"))]]
    for environment, found in versions.items():
        if name := DISTRIBUTIONS.get(environment):
            rows.append([f"{name} {found[name]}", f"mcp {found['mcp']}", _rest(found, ("mcp", name))])
    busy = "This was a short run of a few rounds. " if about["short"] else ""
    if about.get("busy_percent", 0) > 20:
        busy += "**The machine was shared with other work**, so times are long and spreads are wide."
    shows = "Bars of a call, of thirty servers and of a prompt, for the raw SDK, Jackfield and other clients."
    chart = f"![{shows}](images/benchmarks/{PICTURE})" if picture(results) else ""
    return f"""
# Benchmarks

{chart}

{sentences(results)}

## How it is measured

The cost of Jackfield compared with the SDK that it builds on, and the cost of other clients. One command measures
everything and generates this page:

```console
$ make bench
```

It installs each other client in a separate environment (on the first run only, which takes a few minutes longer),
measures, and stores [all figures](../benchmarks/results.json): medians, the middle half of the values, and their
number.

Measured on {about["date"]} on {machine["cores"]} cores ({machine["processor"]}) with {machine["memory_gb"]} GB,
{machine["system"]}, in {about["minutes"]:g} minutes. {busy}

{table(["", "SDK", "with"], rows)}

- **Ratios are relative to the raw SDK**: the same job written by hand on `mcp` in the same environment, measured in the
  same round. 1.05 means five percent more. Every client takes a turn in each round, so a slow moment of the machine
  affects all of them. A cell shows the median of the rounds' ratios and, in parentheses, their middle half.
- Clients that need the SDK 1.x are compared with the raw SDK 1.x in their environment. A second table compares all
  clients with one base, the raw SDK in Jackfield's environment. All clients use the same servers and, unless a row says
  otherwise, the same protocol, 2025-11-25.
- The other clients are used as [their documentation introduces them](../benchmarks/peers/drivers), except that a
  session must end with its block (fastmcp with `keep_alive=False`, AG2's manager with `exit_stack.aclose()`).
  LangChain's `get_tools()` reopens the server for each call.
- A call does not do the same work in every client. Jackfield checks the arguments, limits the size of the result and
  monitors the session; a framework's tool converts the result into messages. [The behaviour of each
  client](migrating.md#measured-behaviour) is tested as well.
"""


def _rest(found: Mapping[str, str], without: Sequence[str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items() if name not in without)


def warm(results: Results) -> str:
    """Calls on an open session."""
    newest = [row for row in results.of("warm_call") if "2026" in row.name]
    rows = [row for row in results.of("warm_call") if row not in newest]
    if not rows:
        return ""
    titles = [short(row) for row in rows]
    one_base = ""
    if RAW_1.name in rows[0].cells:
        one_base = f"{ONE_BASE}\n\n{to_one_base(rows, titles, [RAW_1, *CONTESTANTS])}"
    return f"""
## A call on an open session

A short text sent and returned, fifty such calls concurrently, and a result of 1 MB.

{verdict(rows)}

![Ratios to the raw SDK for six kinds of calls, for Jackfield and the other clients.](images/benchmarks/warm-call.svg)

{to_own_base(rows, titles, CONTESTANTS)}

{one_base}

### In the newer protocol

The protocol of 2026-07-28, which the SDK 1.x does not support.

{verdict(newest)}

{to_own_base(newest, [short(row).replace(", 2026-07-28", "") for row in newest], CONTESTANTS)}

{_through_frameworks(rows)}
"""


def bare(results: Results) -> str:
    """The cost of the client alone."""
    rows = results.of("bare")
    if not rows:
        return ""
    named = {row.name: row for row in rows}
    lines = [
        [
            row.name,
            duration(row.cells["raw"].value),
            times(row.cells["jackfield"].ratio),
            duration(named[f"{row.name}, CPU"].cells["raw"].value),
            times(named[f"{row.name}, CPU"].cells["jackfield"].ratio),
        ]
        for row in rows
        if not row.name.endswith(", CPU")
    ]
    return f"""
### With a server that uses almost no CPU

A server written without the SDK answers in a fraction of the time that a client needs, so the time of a call is almost
entirely the client's. CPU is the CPU time of the client's process. Jackfield's columns are ratios, round by round, to
the raw SDK's `ClientSession`, which does not check arguments.{_when(results)}

{table(["10 B", "raw SDK", "Jackfield", "raw SDK, CPU", "Jackfield, CPU"], lines)}
"""


def _when(results: Results) -> str:
    date = results.about.get("bare_date")
    return f"\nMeasured on {date} on a shared machine: times vary widely, CPU is more reliable." if date else ""


def _through_frameworks(rows: Sequence[Row]) -> str:
    titles = {one.name: one.title for one in (*FRAMEWORKS, *PEERS)}
    lines: list[list[str]] = []
    found: dict[str, list[str]] = {}
    for name, others in OTHERS.items():
        for row, who in ahead(rows, {other: titles[other] for other in others}, of=name).items():
            found.setdefault(row, []).extend(who)
        for which in (name, *others):
            if any(which in row.cells for row in rows):
                title = f"Jackfield's {titles[which]}" if which == name else titles[which]
                lines.append([title, *(times(row.cells.get(which, Cell()).ratio) for row in rows)])
    return f"""
### Through a framework

The same calls through a LangChain tool, an AutoGen workbench and an AG2 tool: with Jackfield's adapter and with the
alternatives for the same framework, all relative to one base, the raw SDK in Jackfield's environment.

{ahead_of("Jackfield's adapter for the same framework", found)}

{table(["", *(short(row) for row in rows)], lines)}
"""


def opening(results: Results) -> str:
    """From nothing to a result."""
    rows = results.of("opening")
    if not rows:
        return ""
    several = [row for row in rows if row.name.endswith("servers")]
    single = [row for row in rows if row not in several]
    titles = [row.name for row in single]
    one_base = ""
    if RAW_1.name in single[0].cells:
        one_base = f"{ONE_BASE}\n\n{to_one_base(single, titles, [RAW_1, *CONTESTANTS])}"
    recovered = [
        [row.name, duration(row.cells["start"].value), duration(row.cells["recovery"].value)]
        for row in results.of("recovery")
    ]
    return f"""
## Opening

Open a session with a server that starts immediately (over HTTP: that is already running), call a tool, and close the
session. Over HTTP, most of the time is spent on loading the system's certificate authorities, about 20 ms: Jackfield
does this once per process, the others once per session. The first session of each client, which also loads libraries,
is not counted.

{verdict(single)}

{to_own_base(single, titles, CONTESTANTS)}

{one_base}

### Many servers

The time to open servers that take {results.about["start_delay"]:g} s each to start, until the tools of all servers are
listed. With the raw SDK, hand-written code opens them concurrently, each in its own task.

{verdict(several)}

![Seconds until the tools of all servers are listed.](images/benchmarks/many-servers.svg)

{to_own_base(several, [row.name for row in several], CONTESTANTS)}

### After a crash

After a server is killed: the time until the next call returns its result, compared with the time that the same server
needs from its start to its first result. [Which other clients reopen a session](migrating.md#failures).

{table(["", "start to first result", "killed to next result"], recovered)}
"""


def whole(results: Results) -> str:
    """Processes from their start to their end."""
    if not (results.of("importing") and results.of("one_off")):
        return ""
    (importing,), (job, kept) = results.of("importing"), results.of("one_off")
    session, command = importing.cells["jackfield_session"], job.cells["command"]
    commands = [
        [row.name, duration(row.cells["jackfield"].value), times(row.cells["jackfield"].ratio)]
        for row in results.of("commands")
    ]
    return f"""
## Whole processes

`python -c 'import ...'`, and a script that opens a session, calls a tool once, prints the result and closes the
session.

{verdict([importing, job])}

{to_own_base([importing, job], ["import", "one call"], CONTESTANTS)}

- `import jackfield` loads almost nothing; the first session loads what it needs, in {times(session.ratio)} of the time
  of `import mcp`.
- The command [`jackfield call`](cli.md) takes {times(command.ratio)} of the time of the script on the raw SDK. On a
  session that `jackfield open` keeps, it takes {times(kept.cells["command"].ratio)}:
  {duration(kept.cells["command"].value)}.

Commands that need no server, with a catalog of 20 servers and 500 tools. The ratio is to `python -c pass`, which takes
{duration(importing.cells["pass"].value)}:

{table(["", "time", "ratio"], commands)}
"""


def ending(results: Results) -> str:
    """How sessions end."""
    closing, left = results.of("closing"), results.of("leftovers")
    if not left:
        return ""
    notes: list[str] = []
    closed: list[list[str]] = []
    over: list[list[str]] = []
    for one in (RAW, *CONTESTANTS):
        if one.name in left[0].cells:
            title = one.title
            cells = [row.cells.get(one.name, Cell()) for row in closing]
            closed.append(
                [title, *(f"- {noted(cell.note, notes)}" if cell.note else duration(cell.value) for cell in cells)]
            )
            over.append([title, *(_left(row.cells[one.name], row) for row in left)])
    below = " ".join(f"({place}) {note}." for place, note in enumerate(notes, 1))
    return f"""
## Closing sessions

The time to close a server that ignores the end of its stdin and SIGTERM, with each client's defaults:

{table(["", *(row.name for row in closing)], closed)}

{below}

The additional resources of a process after many cycles of opening, calling and closing, not counting what the first few
cycles load:

{table(["", *(row.name for row in left)], over)}
"""


def _left(cell: Cell, row: Row) -> str:
    if cell.value is None:
        return f"- ({cell.note})"
    if row.name == "cycles":
        return f"{cell.value.median:,.0f}"
    return f"{cell.value.median:+.1f} {row.unit}" if row.unit else f"{cell.value.median:+.0f}"


def finding(results: Results) -> str:
    """The router's search."""
    subjects = list(dict.fromkeys(row.subject for row in results.rows if row.subject.startswith("recall")))
    if not subjects:
        return ""
    found: list[str] = []
    for subject in subjects:
        rows = results.of(subject)
        there = [name for name in RANKINGS if name in rows[0].cells]
        lines = [[row.name, *(_share(row.cells[name]) for name in there)] for row in rows]
        found.append(f"{subject.partition(', ')[2]}:\n\n{table(['', *(RANKINGS[name] for name in there)], lines)}")
    speed = results.of("finding")
    there = [name for name in RANKINGS if name in speed[0].cells]
    lines = [[row.name, *(duration(row.cells[name].value) for name in there)] for row in speed]
    (prompt,) = results.of("tokens")
    every, routed, answer = (
        cell.value.median for name in ("eager", "routed", "answer") if (cell := prompt.cells[name]).value
    )
    tables = "\n\n".join(found)
    return f"""
## Finding tools

How often the [router's search](routing.md) finds a tool that serves the query. [The benchmark's own
page](../benchmarks/routing/README.md) describes the data and how the search was tuned. Search by meaning needs the
extra `embedding`.

{tables}

Time per query:

{table(["", *(RANKINGS[name] for name in there)], lines)}

Tokens in the prompt (o200k) for {prompt.name}: all definitions take {every:,.0f}; the router's two tools take
{routed:,.0f}, 1/{every / routed:,.0f} of that; a result of `find_tools` takes {answer:,.0f}. Definitions are in the
prompt at every step, while a search result is added once. An agent with the router's two tools needs one more step.
"""


def _share(cell: Cell) -> str:
    return f"{cell.value.median:.3f}" if cell.value else "-"


def adapters(results: Results) -> str:
    """What each adapter adds."""
    rows = results.of("adapters")
    if not rows:
        return ""
    lines = [
        [f"`{row.name}`", times(row.cells["adapted"].ratio), times(row.cells.get("bare", Cell()).ratio)] for row in rows
    ]
    return f"""
## What an adapter adds

The time of a warm call through [each adapter](agents.md), relative to a call of the neutral tool on the same session.
Frameworks do their own work for every tool call (callbacks, tracing, threads): the last column shows a bare function
around the neutral tool, turned into a tool with the framework's own means.

{table(["", "adapter", "bare function"], lines)}
"""


def serving(results: Results) -> str:
    """Served sessions: each figure has its own command, which needs services."""
    return SERVING.read_text()


def gateway(results: Results) -> str:
    """What the gateway adds to a call, which has a command of its own."""
    return GATEWAY.read_text()


PARTS: tuple[Callable[[Results], str], ...] = (
    head,
    warm,
    bare,
    opening,
    whole,
    ending,
    finding,
    adapters,
    growth,
    serving,
    gateway,
)
