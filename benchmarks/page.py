"""`docs/benchmarks.md`, written from the results. What it says of figures it takes from the figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .about import DISTRIBUTIONS
from .arena import FRAMEWORKS, OURS, PEERS, RAW
from .figures import Cell, Results, Row
from .page_growth import growth
from .tables import RAW_1, ahead, ahead_of, duration, noted, short, table, times, to_one_base, to_own_base, verdict

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
SERVING = Path(__file__).parent / "serving" / "results.md"
PICTURES = DOCS / "images" / "benchmarks"
CONTESTANTS = [OURS, *PEERS]

OTHERS: dict[str, list[str]] = {
    "jackfield_langchain": ["langchain_session", "langchain_get_tools"],
    "jackfield_autogen": ["autogen"],
    "jackfield_ag2": ["ag2"],
}
"""What else gives a framework its tools."""

RANKINGS = {
    "jackfield": "Jackfield, by words",
    "jackfield_meaning": "Jackfield, and by meaning",
    "fastmcp": "fastmcp's BM25",
    "plain": "plain BM25",
}


def written(results: Results, page: Path, pictures: Path) -> None:
    """Write the page and its pictures."""
    from .plots import written as drawn

    drawn(results, pictures)
    page.write_text(rendered(results))


def rendered(results: Results) -> str:
    """The whole page."""
    return "\n\n".join(text.strip() for part in PARTS if (text := part(results))) + "\n"


def head(results: Results) -> str:
    """What it is, where it was measured, how to read it."""
    about = results.about
    machine, versions = about["machine"], about["versions"]
    ours = versions[""]
    rows = [["Jackfield, raw SDK", f"mcp {ours['mcp']}", _rest(ours, ("mcp", "jackfield"))]]
    for environment, found in versions.items():
        if name := DISTRIBUTIONS.get(environment):
            rows.append([f"{name} {found[name]}", f"mcp {found['mcp']}", _rest(found, ("mcp", name))])
    busy = "It was a short run, of a few rounds. " if about["short"] else ""
    if about.get("busy_percent", 0) > 20:
        busy += "**Others were at work on the machine**, so that times are long and spreads wide."
    return f"""
# Benchmarks

What Jackfield costs over the SDK that it stands on, and what others cost. One command measures it and writes this
page:

```console
$ make bench
```

It installs the others in environments of their own (the first time only, which takes some minutes more), measures, and
keeps [all figures](../benchmarks/results.json): medians, the middle half of what was measured, and how often.

Measured on {about["date"]} on {machine["cores"]} cores ({machine["processor"]}) with {machine["memory_gb"]} GB,
{machine["system"]}, in {about["minutes"]:g} minutes. {busy}

{table(["", "SDK", "with"], rows)}

- **A ratio is to the raw SDK**: the same job written by hand on `mcp` in the same environment, measured in the same
  round. 1.05 is five percent more. In each round everybody has a turn, so that a slow moment of the machine hits all; a
  cell has the median of the rounds' ratios, and their middle half.
- What needs the SDK 1.x is compared with the raw SDK 1.x of its environment; a second table has all to one base, the
  raw SDK of ours. The servers are the same for all, and so is the protocol, 2025-11-25, unless a row says otherwise.
- The others are used as [their documentation begins](../benchmarks/peers/drivers), but so that a session ends with its
  block (fastmcp with `keep_alive=False`, AG2's manager with `exit_stack.aclose()`). LangChain's `get_tools()` opens the
  server again for each call.
- Not all do the same in a call. Jackfield checks the arguments, bounds the answer and follows what becomes of the
  session; a framework's tool makes messages of the answer. [What each does](migrating.md#what-was-seen) is tried, too.
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
        one_base = f"All to one base:\n\n{to_one_base(rows, titles, [RAW_1, *CONTESTANTS])}"
    return f"""
## A call on an open session

A short text there and back, fifty of them at once, an answer of 1 MB.

{verdict(rows)}

![Ratios to the raw SDK for six kinds of calls, of Jackfield and the others.](images/benchmarks/warm-call.svg)

{to_own_base(rows, titles, CONTESTANTS)}

{one_base}

### In the newer protocol

2026-07-28, which the SDK 1.x does not speak.

{verdict(newest)}

{to_own_base(newest, [short(row).replace(", 2026-07-28", "") for row in newest], CONTESTANTS)}

{_through_frameworks(rows)}
"""


def bare(results: Results) -> str:
    """What a client itself costs."""
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
### On a server that costs next to nothing

A server without the SDK answers in a fraction of the time that a client takes, so that a call's time is the client's
own. CPU is that of the client's process. Jackfield's columns are ratios to the raw SDK's `ClientSession`, round by
round, which checks no arguments.{_when(results)}

{table(["10 B", "raw SDK", "Jackfield", "raw SDK, CPU", "Jackfield, CPU"], lines)}
"""


def _when(results: Results) -> str:
    date = results.about.get("bare_date")
    return f"\nMeasured on {date} beside other work: times spread widely, CPU tells more." if date else ""


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

The same calls by a tool of LangChain, by a workbench of AutoGen, by a tool of AG2: ours, and what else the framework
can be given. All to one base, the raw SDK of our environment.

{ahead_of("our adapter for the same framework", found)}

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
        one_base = f"All to one base:\n\n{to_one_base(single, titles, [RAW_1, *CONTESTANTS])}"
    recovered = [
        [row.name, duration(row.cells["start"].value), duration(row.cells["recovery"].value)]
        for row in results.of("recovery")
    ]
    return f"""
## Opening

A session is opened with a server that starts in a moment (over HTTP: that runs), a tool is called, it is closed.
Over HTTP most of it is loading the system's certificate authorities, some 20 ms: Jackfield does that once a process,
the others with each session. The first session of each, which loads libraries, too, is not counted.

{verdict(single)}

{to_own_base(single, titles, CONTESTANTS)}

{one_base}

### Many servers

Servers that need {results.about["start_delay"]:g} s each to start, until the tools of all are listed. The raw SDK opens
them side by side, each in a task of its own, which one has to write.

{verdict(several)}

![Seconds until the tools of all servers are listed.](images/benchmarks/many-servers.svg)

{to_own_base(several, [row.name for row in several], CONTESTANTS)}

### After a crash

A server is killed: the time until the next call has its result, next to what the same server needs from its start to
its first result. [Who else opens it again](migrating.md#failures).

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

`python -c 'import ...'`; and a script that opens a session, calls a tool once, prints the result and closes.

{verdict([importing, job])}

{to_own_base([importing, job], ["import", "one call"], CONTESTANTS)}

- `import jackfield` loads next to nothing; what a session needs is loaded with the first one: {times(session.ratio)} of
  `import mcp`.
- The command [`jackfield call`](cli.md) takes {times(command.ratio)} of the script on the raw SDK; of a session that
  `jackfield open` keeps, {times(kept.cells["command"].ratio)}: {duration(kept.cells["command"].value)}.

Commands that need no server, with a catalog of 20 servers and 500 tools; the ratio is to `python -c pass`, which takes
{duration(importing.cells["pass"].value)}:

{table(["", "takes", "ratio"], commands)}
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
## The end of sessions

How long it takes to close a server that ignores the end of its stdin and SIGTERM, everybody with their own defaults:

{table(["", *(row.name for row in closing)], closed)}

{below}

What a process holds after so many times opening, calling and closing that it did not hold before (what is loaded by the
first few is not counted):

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

How often the [router's search](routing.md) finds a tool that serves a query; the data, and how the search was tuned,
stand in [the benchmark's own page](../benchmarks/routing/README.md). By meaning needs the extra `embedding`.

{tables}

What a query takes:

{table(["", *(RANKINGS[name] for name in there)], lines)}

Tokens in the prompt (o200k) for {prompt.name}: all definitions {every:,.0f}; the router's two tools {routed:,.0f}, one
part in {every / routed:,.0f}; an answer with its hits {answer:,.0f}. Definitions stand there at every step, an answer
once; an agent that is given the two tools has a step more to make.
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

A warm call through [each adapter](agents.md), to one of the neutral tool on the same session. Frameworks do work of
their own around every tool (callbacks, tracing, threads): the last column is a bare function around the neutral tool,
made a tool by the framework's own means.

{table(["", "adapter", "bare function"], lines)}
"""


def serving(results: Results) -> str:
    """Served sessions: each figure by a command of its own, which takes services."""
    return SERVING.read_text()


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
)
