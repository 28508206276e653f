"""What `jackfield top` draws: a pure function of what was found, what is chosen, and the size of the terminal."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size

from .processes import NOTHING, HeldSession, HoldingProcess, session_cells
from .text import ago, count, one_cell, span

Line = tuple[str, str]
"""A style and a line."""

SILENT_SECONDS = 2.0
"""So long a process may be quiet before that is said: it may be busy."""

KEYS = "up/down choose   c close   r refresh   q quit"

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.:-=+*#"
_LEAST_SPARKS = 10
_MOST_SPARKS = 60
_ERROR_LINES = 2
_HEADINGS = ("SERVER", "KEY", "STATE", "CALLS", "CALLS/S", "ERRORS", "MEMORY", "LAST MINUTE")
_CALLS = 3
_NUMBERS = {3, 4, 5, 6}
_WIDE_COLUMNS = 96
"""From here on there is room for the number of calls."""


@dataclass
class TopView:
    """What is shown."""

    processes: Sequence[HoldingProcess] = ()
    chosen: tuple[str, str] | None = None
    """The identity of the chosen session."""
    question: str | None = None
    """Asked before something is done."""
    message: str = ""
    """What became of that."""
    can_draw_bars: bool = True
    """Whether the terminal has characters for them."""
    _last_index: int = field(default=0, repr=False)

    def sessions(self) -> list[HeldSession]:
        """All of them, in their order on the screen."""
        return [session for process in self.processes for session in process.sessions]

    def chosen_session(self) -> HeldSession | None:
        """The one that is chosen; where that has gone, the one in its place."""
        sessions = self.sessions()
        if not sessions:
            return None
        indexes = {session.identity: index for index, session in enumerate(sessions)}
        index = indexes.get(self.chosen, min(self._last_index, len(sessions) - 1)) if self.chosen else 0
        self._last_index, self.chosen = index, sessions[index].identity
        return sessions[index]

    def move(self, by: int) -> None:
        """Choose another one."""
        if self.chosen_session() is not None:
            sessions = self.sessions()
            self.chosen = sessions[max(0, min(len(sessions) - 1, self._last_index + by))].identity

    def process_of(self, session: HeldSession) -> HoldingProcess:
        """Which process holds a session."""
        return next(process for process in self.processes if session in process.sessions)

    def lines(self, columns: int, rows: int) -> list[Line]:
        """All lines, as many as fit."""
        chosen = self.chosen_session()
        body, chosen_at = self._body(chosen, columns)
        last = self._last_lines(chosen, columns)
        room = max(1, rows - len(last) - 2)
        first = max(0, min(chosen_at - room // 2, len(body) - room))
        shown = body[first : first + room]
        shown += [("", "")] * (room - len(shown))
        whole = [("class:title", self._title()), ("class:heading", self._heading(columns)), *shown, *last]
        return [(style, _cut(text, columns)) for style, text in whole[:rows]]

    def _title(self) -> str:
        sessions = self.sessions()
        rate = sum(session.calls_per_second or 0 for session in sessions)
        errors = sum(session.facts["errors"] for session in sessions)
        counts = f"{count(len(self.processes), 'process', 'processes')}, {count(len(sessions), 'session')}"
        return f"{time.strftime('%H:%M:%S')}  {counts}, {rate:.1f} calls/s, {count(errors, 'error')}"

    def _body(self, chosen: HeldSession | None, columns: int) -> tuple[list[Line], int]:
        """The processes with their sessions, and the number of the chosen line."""
        lines: list[Line] = []
        chosen_at = 0
        if not self.processes:
            lines = [("", line) for line in textwrap.wrap(NOTHING, columns)]
        for process in self.processes:
            silent = 0.0 if process.silent_since is None else time.monotonic() - process.silent_since
            age = process.facts.get("age")
            about = "" if age is None else f", {span(age)}"
            if silent >= SILENT_SECONDS:
                lines.append(("class:silent", f"{process.title} has not answered for {span(silent)}"))
            else:
                lines.append(("class:process", f"{process.title}{about}"))
            if not process.sessions and silent < SILENT_SECONDS:
                lines.append(("class:quiet", "  no session"))
            for session in process.sessions:
                is_chosen = chosen is not None and session.identity == chosen.identity
                if is_chosen:
                    chosen_at = len(lines)
                style = "class:chosen" if is_chosen else "class:silent" if silent >= SILENT_SECONDS else ""
                lines.append((style, ("> " if is_chosen else "  ") + self._row(session, columns)))
        return lines, chosen_at

    def _heading(self, columns: int) -> str:
        return "  " + self._joined(_HEADINGS, columns)

    def _row(self, session: HeldSession, columns: int) -> str:
        sparks = sparkline(
            session.facts.get("recent") or (), _widths(columns)[-1], _BARS if self.can_draw_bars else _PLAIN_BARS
        )
        return self._joined([*map(one_cell, session_cells(session)), sparks], columns)

    def _joined(self, cells: Sequence[str], columns: int) -> str:
        widths, parts = _widths(columns), list[str]()
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            if width:
                parts.append(cell.rjust(width) if number in _NUMBERS else _fitted(cell, width))
        return "  ".join(parts).rstrip()

    def _last_lines(self, chosen: HeldSession | None, columns: int) -> list[Line]:
        error, whose = None, ""
        if chosen is not None:
            error, whose = chosen.facts.get("last_error"), f"Last error of {chosen.facts['server']}"
            if error is None:
                error = self.process_of(chosen).facts.get("last_error")
                whose = "" if error is None else f"Last error of this process ({error['server']})"
        lines: list[Line] = [("", "")]
        if error is not None:
            text = f"{whose}, {ago(max(0.0, time.time() - error['at']))}: {error['text']}"
            wrapped = textwrap.wrap(one_cell(text), columns, max_lines=_ERROR_LINES, placeholder=" ...")
            lines += [("class:error", line) for line in wrapped]
        elif chosen is not None:
            lines.append(("class:quiet", "No error."))
        if self.question is not None:
            lines += [("class:question", line) for line in textwrap.wrap(one_cell(f"{self.question} (y/n)"), columns)]
        else:
            lines += [("class:quiet", line) for line in textwrap.wrap(one_cell(self.message) or KEYS, columns)]
        return lines


def sparkline(values: Sequence[int], width: int, bars: str = _BARS) -> str:
    """Numbers as bars of equal width, in a limited number of columns; the highest is full, and nothing is blank."""
    if not values or width < 1:
        return ""
    size = -(-len(values) // width)
    sums = [sum(values[max(0, end - size) : end]) for end in range(len(values), 0, -size)][::-1]
    most = max(sums)
    return "".join(" " if not value else bars[(value * len(bars) - 1) // most] for value in sums)


def _widths(columns: int) -> list[int]:
    """Of the columns of the table; 0 for one that is left out."""
    calls = 8 if columns >= _WIDE_COLUMNS else 0
    server, key, state = 14, 10, 10
    numbers = (7, 6, 8)
    gaps = 2 * (7 if calls else 6) + 2
    rest = columns - (server + key + state + calls + sum(numbers) + gaps)
    if rest < _LEAST_SPARKS:  # a narrow terminal
        server, key = max(6, server + (rest - _LEAST_SPARKS)), max(4, key + min(0, rest - _LEAST_SPARKS + 8))
        rest = columns - (server + key + state + calls + sum(numbers) + gaps)
    sparks = max(1, min(rest, _MOST_SPARKS))
    server += max(0, rest - _MOST_SPARKS)
    return [server, key, state, calls, *numbers, sparks]


def _fitted(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text)) if cell_len(text) <= width else set_cell_size(text, width - 2) + ".."


def _cut(text: str, columns: int) -> str:
    return text if cell_len(text) <= columns else set_cell_size(text, columns)
