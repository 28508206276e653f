"""Asks servers for their tools, side by side, and remembers what they say in the catalog."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import JackfieldError
from .invocation import Invocation
from .output import Output, silence_libraries
from .text import printable

if TYPE_CHECKING:
    from ..catalog.entry import CatalogDiff
    from ..config.servers import ServerConfig
    from ..events import Event


@dataclass
class Asked:
    """Result of asking the servers."""

    configs: dict[str, ServerConfig] = field(default_factory=dict[str, "ServerConfig"])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    flaws: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """What was wrong with their listings, in words."""
    diffs: dict[str, CatalogDiff] = field(default_factory=dict[str, "CatalogDiff"])
    errors: dict[str, JackfieldError] = field(default_factory=dict[str, JackfieldError])

    @property
    def first_error(self) -> JackfieldError | None:
        """By the order of the servers."""
        return next(iter(self.errors.values()), None)


def ask_servers(invocation: Invocation, names: Sequence[str] | None = None) -> Asked:
    """Open servers, list their tools for the catalog, and close them; reports those that failed.

    Args:
        invocation: Where the servers are.
        names: Which; all that are trusted if omitted.

    Raises:
        UnknownServerError: There is no server of such a name.
        NotTrustedError: A server that is named is not trusted.
    """
    servers, output, asked = invocation.servers, invocation.output, Asked()
    if names is None:
        untrusted = [name for name in servers.names if servers.trust(name) != "trusted"]
        if untrusted:
            output.warn(f"Not asked, because not accepted yet: {', '.join(untrusted)}. See: jackfield config trust")
        names = [name for name in servers.names if name not in untrusted]
    for name in dict.fromkeys(names):
        servers.found(name)
        try:
            asked.configs[name] = servers.config(name)
        except JackfieldError as error:
            if error.code == "not_trusted":
                raise
            asked.errors[name] = error
    if asked.configs:
        _ask(invocation, asked)
    # In the order of the servers, whichever answered first.
    asked.errors = {name: asked.errors[name] for name in servers.names if name in asked.errors}
    for name, error in asked.errors.items() if not output.as_json else ():
        output.warn(f"{name}: {error.message}")
        for line in error.lines[1:]:
            output.note(f"  {line}")
    return asked


def _ask(invocation: Invocation, asked: Asked) -> None:
    from ..events import ListingProblem, SessionClosed, SessionFailed, SessionOpened, SessionOpening
    from ..manager import MCPClientSessionManager
    from .running import run

    silence_libraries(invocation.output)
    catalog = invocation.servers.catalog
    started: dict[str, float] = {}

    with Progress(invocation.output, list(asked.configs)) as progress:

        def on_event(event: Event) -> None:
            name = event.server_name
            if isinstance(event, SessionOpening):
                started[name] = time.monotonic()
                progress.show(name, "opening")
            elif isinstance(event, SessionOpened):
                progress.show(name, "listing")
            elif isinstance(event, ListingProblem):
                asked.flaws.setdefault(name, []).extend(event.problems)
            elif isinstance(event, SessionFailed):
                progress.show(name, "failed", is_done=True)
            elif isinstance(event, SessionClosed):
                asked.seconds[name] = time.monotonic() - started[name]
                progress.show(name, "done", is_done=True)

        async def ask() -> None:
            async with MCPClientSessionManager(catalog=catalog, on_event=on_event) as manager:
                refresh = await manager.refresh_catalog(list(asked.configs.values()))
            asked.diffs |= refresh.diffs
            asked.errors |= refresh.errors

        run(ask)


class Progress:
    """Shows one line for each server on the terminal while they are asked, and removes them afterwards.

    Args:
        output: Says whether there is a terminal.
        names: The servers.
    """

    def __init__(self, output: Output, names: Sequence[str]) -> None:
        self._output = output
        self._names = list(names)
        self._show: Callable[[str, str, bool], None] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Progress:
        if not self._output.shows_progress:
            return self
        import sys

        from rich.console import Console
        from rich.progress import Progress as Bars
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(file=sys.stderr, no_color=not self._output.colors(sys.stderr), highlight=False)
        bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._stack.enter_context(bars)
        tasks = {name: bars.add_task(printable(name), total=1, state="waiting", start=False) for name in self._names}

        def show(name: str, state: str, is_done: bool) -> None:
            if not is_done:
                bars.start_task(tasks[name])
            bars.update(tasks[name], state=state, completed=int(is_done))

        self._show = show
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, name: str, state: str, *, is_done: bool = False) -> None:
        """Show the state of a server."""
        if self._show is not None:
            self._show(name, state, is_done)
