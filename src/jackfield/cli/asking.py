"""Asks servers for their tools, side by side, and remembers what they say in the catalog."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import JackfieldError
from .exits import unwound_by_signals
from .invocation import Invocation
from .output import Output, silence_libraries
from .text import printable

if TYPE_CHECKING:
    from ..catalog.changes import CatalogDiff
    from ..config.outline import Outlined
    from ..config.servers import ServerConfig
    from ..daemon.kept import KeptSession
    from ..events import Event


_AT_ONCE = 8
"""How many servers the background process is asked about at the same time."""


@dataclass
class Asked:
    """Result of asking the servers."""

    configs: dict[str, Outlined] = field(default_factory=dict[str, "Outlined"])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    flaws: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """What was wrong with their listings, in words."""
    diffs: dict[str, CatalogDiff] = field(default_factory=dict[str, "CatalogDiff"])
    errors: dict[str, JackfieldError] = field(default_factory=dict[str, JackfieldError])

    @property
    def first_error(self) -> JackfieldError | None:
        """By the order of the servers."""
        return next(iter(self.errors.values()), None)


def ask_servers(invocation: Invocation, names: Sequence[str] | None = None, *, needs_flaws: bool = False) -> Asked:
    """Open servers, list their tools for the catalog, and close them; reports those that failed.

    Args:
        invocation: Where the servers are.
        names: Which; all that are trusted if omitted.
        needs_flaws: Whether the flaws of their listings are of interest; the background process does not tell them.

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
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        servers.admit(servers.found(name))
    if not needs_flaws and not servers.is_given:
        _ask_by_background(invocation, asked, wanted)
    configs: list[ServerConfig] = []
    for name in wanted:
        if name in asked.configs or name in asked.errors:
            continue
        try:
            configs.append(servers.config(name))
            asked.configs[name] = configs[-1]
        except JackfieldError as error:
            asked.errors[name] = error
    if configs:
        _ask(invocation, asked, configs)
    # In the order of the servers, whichever answered first.
    asked.errors = {name: asked.errors[name] for name in servers.names if name in asked.errors}
    for name, error in asked.errors.items() if not output.as_json else ():
        output.warn(f"{name}: {error.message}")
        for line in error.lines[1:]:
            output.note(f"  {line}")
    return asked


def _ask_by_background(invocation: Invocation, asked: Asked, names: Sequence[str]) -> None:
    """Have the background process ask them, where it runs or is to be started: it has imported all that is needed.

    What it cannot ask is left out.
    """
    from .kept import is_warm

    wanted = is_warm()
    if wanted is False or invocation.output.verbose or (wanted is None and not _runs_in_background()):
        return
    with Progress(invocation.output, names) as progress, unwound_by_signals():
        limit = threading.Semaphore(_AT_ONCE)
        asking = [_Asking(invocation, asked, name, progress, limit, start=wanted is True) for name in names]
        try:
            for one in asking:
                one.start()
            for one in asking:
                one.join()
        except BaseException:
            for one in asking:
                one.give_up()
            raise


def _runs_in_background() -> bool:
    from ..local.directory import is_supported

    if not is_supported():
        return False
    from ..daemon.folder import Place

    place = Place.find(create=False)
    if place is None:
        return False
    with place:
        return place.is_locked()


class _Asking(threading.Thread):
    """Has the background process ask one server.

    Args:
        invocation: Where it is.
        asked: Gets the result.
        name: Its name.
        progress: Shows how it stands.
        limit: How many may ask concurrently.
        start: Whether to start the background process.
    """

    def __init__(
        self,
        invocation: Invocation,
        asked: Asked,
        name: str,
        progress: Progress,
        limit: threading.Semaphore,
        *,
        start: bool,
    ) -> None:
        super().__init__(daemon=True)
        self._invocation = invocation
        self._asked = asked
        self._server = name
        self._progress = progress
        self._limit = limit
        self._starts = start
        self._session: KeptSession | None = None
        self._is_given_up = False

    def run(self) -> None:
        """As `threading.Thread` calls it."""
        with self._limit:
            began = time.monotonic()
            try:
                if not self._is_given_up:
                    self._ask()
            except JackfieldError as error:
                self._asked.errors[self._server] = error
                self._asked.seconds[self._server] = time.monotonic() - began
                self._progress.show(self._server, "failed", is_done=True)

    def give_up(self) -> None:
        """The command ends, and closes what it was lent; what it asks for just now ends with its connection."""
        self._is_given_up = True
        if self._session is not None:
            with contextlib.suppress(JackfieldError):
                self._session.give_back(replace=False)

    def _ask(self) -> None:
        from ..catalog.changes import difference
        from .kept import lent

        servers, name = self._invocation.servers, self._server
        try:
            outline = servers.found(name).outline(os.environ)
        except JackfieldError:
            return  # The code that reads the whole entry reports what is wrong.
        catalog, began = servers.catalog, time.monotonic()
        before = catalog.entry(outline)
        self._progress.show(name, "opening")
        fields = lambda: servers.fields(name)  # noqa: E731
        with lent(fields, self._invocation.output, start=self._starts, catalog=catalog.folder) as session:
            if session is None:
                return
            self._session = session
            self._asked.configs[name] = outline
            self._progress.show(name, "listing")
            session.list_for_catalog()
        self._asked.diffs[name] = difference(name, before, catalog.entry(outline))
        self._asked.seconds[name] = time.monotonic() - began
        self._progress.show(name, "done", is_done=True)


def _ask(invocation: Invocation, asked: Asked, configs: Sequence[ServerConfig]) -> None:
    from ..events import ListingProblem, SessionClosed, SessionFailed, SessionOpened, SessionOpening
    from ..manager import MCPClientSessionManager
    from .running import run

    silence_libraries(invocation.output)
    catalog = invocation.servers.catalog
    started: dict[str, float] = {}

    with Progress(invocation.output, [config.server_name for config in configs]) as progress:

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
                refresh = await manager.refresh_catalog(list(configs))
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
