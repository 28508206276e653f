"""Draws the demo: on a terminal a table that changes under lines that scroll, elsewhere plain lines."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

from autogen_agentchat.messages import TextMessage, ToolCallExecutionEvent, ToolCallRequestEvent
from board import BUSY, NOTHING, OPEN, OPENING, Board
from leftovers import Process
from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from jackfield import (
    CallFinished,
    CallStarted,
    Event,
    MCPConfig,
    SessionClosed,
    SessionFailed,
    SessionInfo,
    SessionLost,
    SessionOpened,
)

STATE_STYLES = {"opening": "yellow", "open": "green", "closed": "dim", "failed": "red", "lost": "red"}
SPAN_STYLES = {NOTHING: "dim", OPENING: "yellow", OPEN: "green", BUSY: "bold cyan"}
TIME_WIDTH = 8


class Screen:
    """What people see.

    Use it as a context manager: the live table goes when it is left.
    """

    def __init__(self) -> None:
        # A title may hold letters that this terminal cannot show.
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        self.console = Console(highlight=False)
        self.is_live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.board = Board()
        self._width = 0
        plain = "utf" not in self.console.encoding.lower()
        self._marks = (
            dict(zip(["opened", "closed", "call", "wrong", "bar"], "+-*!|", strict=True))
            if plain
            else dict(zip(["opened", "closed", "call", "wrong", "bar"], "●○→✗│", strict=True))
        )
        self._cells = dict(zip([NOTHING, OPENING, OPEN, BUSY], ".~=#" if plain else "·░━█", strict=True))
        self._ellipsis = "..." if plain else "…"
        self._live = Live(
            console=self.console, get_renderable=self.figures, transient=True, refresh_per_second=10, auto_refresh=True
        )
        self._asked: dict[str, deque[str]] = defaultdict(deque)
        self._calls: dict[tuple[str, str | None, int], str] = {}

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        self.board.ended_at = time.time()

    # The frame

    def title(self, model: str | None, config: MCPConfig) -> None:
        """Say what is real, and which servers there are."""
        self.board = Board(config.names)
        self._width = max(map(len, config.names))
        self.console.print("[bold]Jackfield research assistant[/]: one agent, three MCP servers, opened on demand\n")
        if model:
            self._pair("Model", model, "bold")
        else:
            self._pair("Scripted", "the model: it replays planned calls (--model NAME: a real one)", "bold yellow")
            self._pair("Real", "the servers, the sessions, every call, what the answers quote", "bold green")
        self.console.print()
        for server in config:
            where = (
                "started by Jackfield when needed" if server.transport == "stdio" else f"elsewhere: {server.address}"
            )
            line = Text(f"  {server.server_name:<{self._width}}  ").append(f"{server.transport:<15}  {where}", "dim")
            self.console.print(line)

    def _pair(self, word: str, words: str, style: str) -> None:
        self.console.print(Text(f"{word:<10}", style).append(words, "default"))

    def manager_entered(self, sessions: Sequence[SessionInfo]) -> None:
        """Say that nothing was opened yet."""
        self.console.print(f"\nManager entered, config read. Sessions open: [bold]{len(sessions)}[/]\n")
        self.board.started_at = time.time()
        if self.is_live:
            self._live.start()

    def asked(self, number: int, question: str, way: str) -> None:
        """A question begins."""
        self.console.rule(
            f"[bold]Question {number}[/]", align="left", characters="-" if self._ellipsis == "..." else "─"
        )
        self.console.print(Text(question, "bold"))
        self.console.print(Text(f"The agent has {way}.\n", "dim"))

    def answered(self) -> None:
        """Say which servers the question needed."""
        opened = self.board.names("open")
        rest = [name for name in self.board.servers if name not in opened]
        line = Text("Open now: ", "dim").append(", ".join(opened) or "none", "green")
        if rest:
            line.append(f"   Not started: {', '.join(rest)}", "dim")
        self.console.print(line)
        self.console.print()

    def manager_left(self, sessions: Sequence[SessionInfo], left: Sequence[Process], others: int) -> None:
        """Say what is left of the manager's sessions while the servers elsewhere still run."""
        self._live.stop()
        self.board.ended_at = time.time()
        self.console.print()
        self.console.rule("[bold]Afterwards[/]", align="left", characters="-" if self._ellipsis == "..." else "─")
        self.console.print(self.figures())
        legend = Text("  ")
        for kind, words in ((OPENING, "opening"), (OPEN, "open"), (BUSY, "calls"), (NOTHING, "no session")):
            legend.append(self._cells[kind] * 2, SPAN_STYLES[kind]).append(f" {words}   ", "dim")
        self.console.print(legend)
        self.console.print()
        self._fact(not sessions, f"Manager left: {len(sessions)} sessions open")
        self._fact(not left, f"Processes that Jackfield started: {len(left)} running", left)
        self.console.print(f"  The {others} servers elsewhere still run: they are not Jackfield's to stop", style="dim")

    def interrupted(self) -> None:
        """Say that the user stopped it."""
        self.console.print("\n[yellow]Stopped by Ctrl-C.[/]")

    def stopped(self, reason: str) -> None:
        """Say why it ended early."""
        self.console.print(Text(f"\nStopped: {reason}", "red"))

    def ended(self, left: Sequence[Process]) -> None:
        """Say what is left of everything."""
        self._fact(not left, f"Servers elsewhere stopped too. Left running in all: {len(left)} processes", left)

    # What happens

    def on_event(self, event: Event) -> None:
        """Jackfield's events: sessions and calls."""
        self.board.record(event)
        name = event.server_name
        match event:
            case SessionOpened():
                by = (
                    f"process {event.process_id}" if event.process_id else f"session {event.session_id}{self._ellipsis}"
                )
                self._line("opened", name, f"opened: {by}, MCP {event.protocol_version}", event.seconds, "green")
            case SessionFailed() | SessionLost():
                self._line("wrong", name, str(event.error.message), None, "red")
            case SessionClosed():
                self._line("closed", name, f"closed after {event.seconds_open:.1f} s", None, "dim")
            case CallStarted():
                asked = self._asked[event.tool]
                self._calls[name, event.key, event.call_number] = asked.popleft() if asked else event.tool
            case CallFinished():
                words = self._calls.pop((name, event.key, event.call_number))
                self._line("wrong" if event.error else "call", name, words, event.seconds, "red" if event.error else "")
            case _:
                pass

    def on_message(self, message: object) -> None:
        """AutoGen's messages: what the model asked for, and its answer."""
        match message:
            case ToolCallRequestEvent():
                self._asked.clear()
                for request in message.content:
                    tool, words = _in_words(request.name, request.arguments)
                    self._asked[tool].append(words)
            case ToolCallExecutionEvent():
                for result in message.content:
                    if result.is_error:
                        self._line("wrong", "", f"{result.name}: {result.content}", None, "red")
                # No call of a tool: the agent asked a server what it has.
                for words in self._asked.pop("", ()):
                    self._line("call", words, "what tools do you have?", None, "")
            case TextMessage() if message.source != "user":
                self._answer(message.content)
            case _:
                pass

    def _answer(self, text: str) -> None:
        self.console.print()
        for line in Text(text).wrap(self.console, min(self.console.width - 4, 96)):
            line.rstrip()
            self.console.print(Text.assemble((f"  {self._marks['bar']} ", "green"), line))
        self.console.print()

    def _line(self, mark: str, server: str, words: str, seconds: float | None, style: str) -> None:
        """One line of the log, cut to the width of the screen."""
        words = " ".join(words.split())
        room = min(self.console.width, 120) - self._width - TIME_WIDTH - 8
        if len(words) > room:
            words = words[: room - len(self._ellipsis)] + self._ellipsis
        took = "" if seconds is None else f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.0f} ms"
        line = Text(f"  {self._marks[mark]} ", style or "cyan").append(f"{server:<{self._width}}  ", style or "bold")
        line.append(f"{words:<{room}}  ", style).append(took.rjust(TIME_WIDTH), "dim")
        line.rstrip()
        self.console.print(line)

    def _fact(self, is_good: bool, words: str, left: Iterable[Process] = ()) -> None:
        self.console.print(Text(f"  {words}", "bold green" if is_good else "bold red"))
        for process in left:
            self.console.print(f"    {process.process_id} {process.name}", style="red")

    # The table

    def figures(self) -> Padding:
        """One row a server: its state, what it cost, and when it was open."""
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("server", no_wrap=True)
        table.add_column("state", no_wrap=True, width=len("not started"))
        table.add_column("opened in", justify="right", no_wrap=True)
        table.add_column("calls", justify="right", no_wrap=True)
        table.add_column(f"{self.board.now - self.board.started_at:.1f} s from left to right", no_wrap=True)
        cells = max(10, min(self.console.width, 120) - self._width - 37)
        for server in self.board.servers.values():
            took = f"{server.open_seconds:.2f} s" if server.open_seconds else ""
            timeline = Text()
            for kind in server.timeline(self.board.started_at, self.board.now, cells):
                timeline.append(self._cells[kind], SPAN_STYLES[kind])
            state = Text(server.state, STATE_STYLES.get(server.state, "dim"))
            table.add_row(server.name, state, took, str(server.calls or ""), timeline)
        return Padding(table, (1, 0, 0, 2), expand=False)


def _in_words(name: str, arguments: str) -> tuple[str, str]:
    """The MCP tool that a request of the model will call, and the call as text; no tool if it asks for a listing."""
    try:
        given: dict[str, Any] = json.loads(arguments)
    except ValueError:
        return name, f"{name}({arguments})"
    if name == "query_mcp_server":
        if not given.get("tool_name"):
            return "", str(given.get("server_name"))
        name, given = given["tool_name"], given.get("arguments") or {}
    shown = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items())
    return name, f"{name}({shown})"
