"""Draws the demo: on a terminal a table that changes under lines that scroll, elsewhere plain lines."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

UP, STARTING, KILLED, STOPPED = "up", "starting", "killed", "stopped"
_STYLES = {UP: "green", STARTING: "yellow", KILLED: "bold red", STOPPED: "dim"}
_WIDTH = 79


@dataclass
class Tally:
    """What the client saw."""

    answered: dict[str, int] = field(default_factory=dict)
    """Calls answered, by instance."""
    asked: int = 0
    """Questions of the server that the user answered."""
    sent: list[int] = field(default_factory=list)
    """Notifications, by number."""
    heard: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """What the client was told of calls whose instance was killed."""
    failed: list[str] = field(default_factory=list)
    """Any other error. There should be none."""


class Screen:
    """What people see."""

    def __init__(self, instances: list[str]) -> None:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        self.console = Console(highlight=False)
        self.is_live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.tally = Tally(answered=dict.fromkeys(instances, 0))
        self.states = dict.fromkeys(instances, STARTING)
        self._began = time.monotonic()
        self._live = Live(console=self.console, get_renderable=self._figures, transient=True, refresh_per_second=10)

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def title(self, balancer: str, redis: str, url: str) -> None:
        """Say what runs."""
        self.console.print("[bold]Jackfield serves one session from two instances[/]\n")
        for word, words in {
            "Instances": "A and B, two processes; what they know of sessions is in Redis",
            "Balancer": f"{balancer}: round robin, no sticky sessions; {url}",
            "Redis": redis,
            "Client": "Jackfield's own, one session for all of it",
        }.items():
            self.console.print(Text.assemble((f"{word:<11}", "bold"), words))
        self.console.print()
        self._began = time.monotonic()
        if self.is_live:
            self._live.start()

    def part(self, words: str) -> None:
        """Begin a part."""
        self.console.print(Text(f"\n{words}", "bold"))

    def line(self, who: str, words: str, style: str = "") -> None:
        """One line: when, who, what."""
        start = Text.assemble((f"{time.monotonic() - self._began:5.1f} s  ", "dim"), (f"{who:<8}", style or "cyan"))
        for row in Text(" ".join(words.split()), style).wrap(self.console, _WIDTH - len(start)):
            row.rstrip()
            self.console.print(Text.assemble(start, row))
            start = Text(" " * len(start))

    def instance(self, name: str, state: str, words: str) -> None:
        """An instance changes."""
        self.states[name] = state
        self.line(name, words, _STYLES[state])

    def _figures(self) -> Padding:
        table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
        for head in ("instance", "state", "calls answered"):
            table.add_column(head)
        for name, state in self.states.items():
            answered = self.tally.answered[name]
            table.add_row(name, Text(state, _STYLES[state]), Text("█" * min(answered, 40) + f" {answered}"))
        return Padding(table, (1, 0, 0, 2))

    def summary(self, executions: list[int]) -> bool:
        """What came of it; whether all is as it should be."""
        self._live.stop()
        tally = self.tally
        answered = sum(tally.answered.values())
        by = ", ".join(f"{count} by {name}" for name, count in tally.answered.items())
        twice = len(executions) - len(set(executions))
        missed = len(set(tally.sent) - set(tally.heard))
        repeated = len(tally.heard) - len(set(tally.heard))
        self.console.print(Text("\nAfterwards", "bold"))
        facts = [
            (not tally.failed, f"Calls answered: {answered} ({by}), failed: {len(tally.failed)}"),
            (len(tally.lost) == 1, f"Calls that ran on the killed instance: {len(tally.lost)}, told so by an error"),
            (twice == 0, f"Calls run twice: {twice} of {len(executions)}"),
            (tally.asked > 0, f"Questions of the server that the user answered: {tally.asked}"),
            (
                not missed and not repeated,
                f"Notifications: {len(tally.sent)} sent, {len(set(tally.heard))} heard, {repeated} of them twice",
            ),
        ]
        for is_good, words in facts:
            self.console.print(Text(f"  {words}", "green" if is_good else "bold red"))
        for error in tally.failed:
            self.console.print(Text(f"    {error}", "red"))
        return all(is_good for is_good, _ in facts)

    def interrupted(self) -> None:
        """The user stopped it."""
        self._live.stop()
        self.console.print("\n[yellow]Stopped by Ctrl-C.[/]")

    def stopped(self, reason: str) -> None:
        """It could not go on."""
        self._live.stop()
        self.console.print(Text(f"\nStopped: {reason}", "red"))

    def left(self, count: int) -> None:
        """Say what still runs."""
        self.console.print(Text(f"  Left running: {count} processes", "bold red" if count else "green"))
