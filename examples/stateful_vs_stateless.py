"""One session against a new session for each call, on servers that remember: a shell, databases, a browser.

Most clients open a session for each call, and close it again: what the server kept for it (directory, transaction,
page) is gone before the next call. The same steps are made both ways here, on real servers.

Run: python examples/stateful_vs_stateless.py [shell] [sqlite] [postgresql] [browser]
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from research_assistant.leftovers import Process, descendants
from rich.console import Console
from rich.table import Table
from rich.text import Text
from stateful_servers import browser, plans, postgres

from jackfield import (
    Event,
    JackfieldError,
    MCPClientSessionManager,
    ServerConfig,
    Session,
    SessionOpened,
    StdioConfig,
    ToolResult,
)

SERVERS = Path(__file__).parent / "stateful_servers"
ONE, EACH = "one session", "a session for each call"

# What a browser started belongs to the system's first process in the end, which takes its time to bury it.
REAP_SECONDS = 5.0

Prepared = tuple[ServerConfig, Callable[[str], plans.Plan]]
"""A server, and the plan for it; the argument keeps what two ways leave behind apart."""


@dataclass(frozen=True)
class Example:
    """A server that remembers."""

    title: str
    prepare: Callable[[Path, ExitStack], Prepared]
    missing: Callable[[], str | None] = lambda: None
    """Why it cannot be shown here, and what to do; `None` if it can."""


@dataclass
class Played:
    """What came of the steps, made in one of the two ways."""

    steps: list[tuple[plans.Step, str]] = field(default_factory=list)
    """Each with what its answer came to."""
    seconds: float = 0.0
    starts: int = 0
    """How often the server was started."""

    @property
    def worked(self) -> int:
        """How many steps came to what they should."""
        return sum(step.wanted == came_to for step, came_to in self.steps)


def own_server(name: str, script: str, **environment: str) -> StdioConfig:
    """One of the servers of `stateful_servers/`."""
    command = [str(SERVERS / script), "stdio"]
    return StdioConfig(server_name=name, command=sys.executable, args=command, environment=environment)  # type: ignore[arg-type]


def shell(folder: Path, _: ExitStack) -> Prepared:
    """A bash."""
    project = folder / "project"
    project.mkdir()
    return own_server("shell", "shell_server.py"), lambda _way: plans.shell(project)


def no_bash() -> str | None:
    """What is missing for it."""
    return None if shutil.which("bash") else "bash is not installed: apt-get install bash (as root)"


def sqlite(folder: Path, _: ExitStack) -> Prepared:
    """A database in a file."""
    return own_server("sqlite", "database_server.py", DATABASE_URL=f"sqlite:///{folder / 'db'}"), plans.database


def postgresql(_folder: Path, stack: ExitStack) -> Prepared:
    """A database server of our own."""
    running = stack.enter_context(postgres.running_postgres())
    return own_server("postgresql", "database_server.py", DATABASE_URL=running.url), plans.database


def no_postgresql() -> str | None:
    """What is missing for it."""
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed: pip install 'psycopg[binary]'"
    return postgres.missing()


def chromium(_: Path, stack: ExitStack) -> Prepared:
    """A browser, and a page for it."""
    url = stack.enter_context(browser.page())
    return stack.enter_context(browser.browser_server()), lambda _way: plans.browser(url, browser.TITLE)


EXAMPLES = {
    "shell": Example("Shell: directory and variables of a bash", shell, no_bash),
    "sqlite": Example("SQLite: transactions over several calls", sqlite),
    "postgresql": Example("PostgreSQL: transactions over several calls", postgresql, no_postgresql),
    "browser": Example("Browser: Playwright's server with Chromium", chromium, browser.missing),
}


async def play(plan: plans.Plan, config: ServerConfig, in_one_session: bool, started: set[int]) -> Played:
    """Make all steps, in one session or each in a session of its own; notes in `started` which processes that made."""
    played = Played()

    def count(event: Event) -> None:
        played.starts += isinstance(event, SessionOpened)

    async def called(session: Session, tool: str, arguments: dict[str, Any]) -> ToolResult:
        result = await session.call_tool(tool, arguments)
        started.update(process.process_id for process in descendants())
        return result

    async def all_steps(call: Callable[[str, dict[str, Any]], Awaitable[ToolResult]]) -> None:
        answer: str | None = None
        while True:
            try:
                step = plan.send(answer)  # type: ignore[arg-type]
            except StopIteration:
                return
            answer = (await call(step.tool, step.arguments)).text
            played.steps.append((step, step.came_to(answer)))

    manager = MCPClientSessionManager(on_event=count)
    began = time.monotonic()
    if in_one_session:
        async with manager.open_session(config) as session:
            await all_steps(partial(called, session))
    else:

        async def alone(tool: str, arguments: dict[str, Any]) -> ToolResult:
            async with manager.open_session(config) as session:
                return await called(session, tool, arguments)

        await all_steps(alone)
    played.seconds = time.monotonic() - began
    return played


def compared(example: Example, one: Played, each: Played, console: Console) -> Table:
    """The steps, and what came of them both ways."""
    marks = {True: "✓", False: "✗"} if "utf" in console.encoding.lower() else {True: "ok", False: "NO"}

    def cell(step: plans.Step, came_to: str) -> Text:
        good = step.wanted == came_to
        return Text(f"{marks[good]} {came_to}", "green" if good else "bold red")

    table = Table(title=example.title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("", min_width=20, max_width=30)
    table.add_column(ONE, width=22)
    table.add_column(EACH, width=28)
    for (step, in_one), (again, in_each) in zip(one.steps, each.steps, strict=True):
        table.add_row(f"  {step.words}", cell(step, in_one), cell(again, in_each))
    table.add_row("  server starts", str(one.starts), str(each.starts), style="dim")
    table.add_row("  seconds", f"{one.seconds:.1f}", f"{each.seconds:.1f}", style="dim")
    return table


async def compare(names: Sequence[str], console: Console, started: set[int]) -> int:
    """Play the examples both ways and print what came of it; returns the exit code."""
    totals = {ONE: Played(), EACH: Played()}
    skipped: list[str] = []
    for name in names:
        example = EXAMPLES[name]
        if why := example.missing():
            skipped.append(f"  {name}: {why}")
            continue
        played: dict[str, Played] = {}
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            config, plan_for = example.prepare(folder, stack)
            for number, way in enumerate((ONE, EACH), 1):
                with console.status(f"{name}: {way}"):
                    played[way] = await play(plan_for(f"people_{number}"), config, way == ONE, started)
                totals[way].steps += played[way].steps
                totals[way].starts += played[way].starts
                totals[way].seconds += played[way].seconds
        console.print(compared(example, played[ONE], played[EACH], console))
        console.print()
    for way, total in totals.items():
        if total.steps:
            console.print(
                f"{way:<24}{total.worked:>3} of {len(total.steps)} steps worked, "
                f"{total.starts:>3} server starts, {total.seconds:5.1f} s"
            )
    if skipped:
        console.print("\nSkipped:", style="yellow")
        console.print("\n".join(skipped), markup=False)
    return 0 if totals[ONE].worked == len(totals[ONE].steps) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code: 0 if every step worked in one session."""
    parser = argparse.ArgumentParser(
        description="The same steps in one session and in a new session for each call, on servers that remember.",
        epilog="Exit code: 0 if every step worked in one session, 1 if not or if a server failed, 130 after Ctrl-C.",
    )
    parser.add_argument("examples", nargs="*", metavar="EXAMPLE", help=f"{', '.join(EXAMPLES)}; all, if none is named")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.examples if name not in EXAMPLES]:
        parser.error(f"no example is called {', '.join(unknown)}. There are: {', '.join(EXAMPLES)}.")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))  # close as for Ctrl-C

    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    console = Console(highlight=False)
    started: set[int] = set()
    try:
        code = asyncio.run(compare(options.examples or list(EXAMPLES), console, started))
    except KeyboardInterrupt:
        console.print("\nInterrupted.")
        code = 130
    except (JackfieldError, postgres.PostgresError) as error:
        print(f"stateful_vs_stateless.py: {error}", file=sys.stderr)
        code = 1
    left = left_running(started)
    console.print(f"Left running: {len(left)} processes{''.join(f', {one.process_id} {one.name}' for one in left)}")
    return code or (1 if left else 0)


def left_running(started: set[int]) -> list[Process]:
    """What still runs of what was started."""
    deadline = time.monotonic() + REAP_SECONDS
    while (left := descendants(started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


if __name__ == "__main__":
    sys.exit(main())
