"""What the command writes: data on stdout, everything else on stderr.

On a terminal data is laid out for people, within its width and with colour; in a pipe it is plain lines with tabs,
whole and without headings; with `--json` it is JSON wherever it goes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..errors import JackfieldError, one_line
from .exits import OK, OutputError, ReaderGoneError, exit_code
from .text import one_cell, printable

NO_SERVER = (
    "No server is configured. To add one: jackfield config add. Where Jackfield looks: jackfield config path --all"
)

_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36}


class Output:
    """Writes a command's output.

    Args:
        as_json: Data, and errors, are JSON.
        color: `False` never colours; `None` does on a terminal, unless `NO_COLOR` or `TERM=dumb` says otherwise, and
            wherever `FORCE_COLOR` is set.
        quiet: No notes, only warnings and errors.
        verbose: Details, too.
    """

    def __init__(
        self, *, as_json: bool = False, color: bool | None = None, quiet: bool = False, verbose: bool = False
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self._color = color

    @property
    def for_people(self) -> bool:
        """Whether data goes to a terminal, and not as JSON."""
        return not self.as_json and is_terminal(sys.stdout)

    @property
    def shows_progress(self) -> bool:
        """Whether a progress display may be drawn on stderr."""
        return not self.quiet and is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"

    @property
    def width(self) -> int:
        """Columns of the terminal; 80 without a terminal."""
        import shutil

        return shutil.get_terminal_size((80, 24)).columns

    # Data

    def write(self, text: str) -> None:
        """A piece of data, as lines on stdout.

        Raises:
            OutputError: It cannot be written, as on a full disk.
            ReaderGoneError: The reader is gone.
        """
        try:
            sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        except BrokenPipeError:
            raise ReaderGoneError from None
        except OSError as error:
            raise OutputError.because(error) from None

    def write_json(self, data: object) -> None:
        """Data as JSON on stdout."""
        self.write(json.dumps(data, indent=2, ensure_ascii=False, default=str))

    def write_table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, squeeze: int = -1, right: Sequence[int] = ()
    ) -> None:
        """Rows of data: a table for people, otherwise one line per row with tabs and without headings.

        Args:
            columns: The headings.
            rows: Plain text; may carry what a server wrote.
            squeeze: The column that is truncated if the terminal is too narrow.
            right: The columns of numbers.
        """
        if self.for_people:
            from .table import drawn

            self.write(drawn(columns, rows, self.width, squeeze % len(columns), right, self.colors(sys.stdout)))
        else:
            for row in rows:
                self.write_row(row)

    def write_row(self, cells: Sequence[str]) -> None:
        """One row of data for programs: cells with tabs between."""
        self.write("\t".join(one_cell(cell) for cell in cells))

    def write_wrapped(
        self, pieces: Sequence[tuple[str, str]], *, indent: int = 0, continued: int = 0, lines: int = 0
    ) -> None:
        """A line of text for people; on a terminal it is wrapped at words, elsewhere not wrapped.

        Args:
            pieces: Texts, which may carry what a server wrote, each with the name of its style or nothing.
            indent: Columns before the first line.
            continued: Columns before the others.
            lines: Maximum number of lines; the rest is omitted. 0: all.
        """
        pieces = [(printable(text), style) for text, style in pieces]
        whole = "".join(text for text, _ in pieces)
        if self.for_people:
            import textwrap

            wrapped = textwrap.wrap(
                whole, self.width, initial_indent=" " * indent, subsequent_indent=" " * continued,
                drop_whitespace=True, break_on_hyphens=False, max_lines=lines or None, placeholder=" ...",
            )  # fmt: skip
        else:
            wrapped = [" " * indent + whole]
        self.write("\n".join(self._restyled(wrapped or [""], pieces)))

    def _restyled(self, wrapped: Sequence[str], pieces: Sequence[tuple[str, str]]) -> list[str]:
        """The styles of the pieces, put back after wrapping: letter for letter, blanks aside."""
        if not self.colors(sys.stdout):
            return [line.rstrip() for line in wrapped]
        styles = [style for text, style in pieces for char in text if not char.isspace()]
        at = 0
        lines: list[str] = []
        for line in wrapped:
            runs: list[tuple[str, str]] = []
            for char in line.rstrip():
                style = runs[-1][1] if char.isspace() and runs else ""
                if not char.isspace():
                    style = styles[at] if at < len(styles) else ""
                    at += 1
                if runs and runs[-1][1] == style:
                    runs[-1] = runs[-1][0] + char, style
                else:
                    runs.append((char, style))
            lines.append("".join(self.styled(text, style) if style else text for text, style in runs))
        return lines

    # Everything else

    def note(self, text: str) -> None:
        """Tell the person something; not with `--quiet`."""
        if not self.quiet:
            self._tell(printable(text, "\n"))

    def ask(self, text: str, end: str = "\n") -> None:
        """Explain what a question is about."""
        self._tell(printable(text, "\n"), end)

    def detail(self, text: str) -> None:
        """Tell the person something only with `--verbose`."""
        if self.verbose:
            self._tell(self.styled(printable(text, "\n"), "dim", stream=sys.stderr))

    def warn(self, text: str) -> None:
        """Tell the person of something that is wrong, but not fatal."""
        self._tell(f"{self.styled('Warning:', 'yellow', 'bold', stream=sys.stderr)} {printable(text)}")

    def error(self, error: JackfieldError) -> None:
        """Report the error that ends the command; with `--json` as `{"code", "message", "hint"}`."""
        if self.as_json:
            self._tell(json.dumps(error_facts(error), ensure_ascii=False))
        else:
            text = printable(str(error), keep="\n")
            self._tell(f"{self.styled('Error:', 'red', 'bold', stream=sys.stderr)} {text}")

    def failed(self, error: JackfieldError | None) -> int:
        """The exit code for an error that was already reported; with `--json` it is reported again."""
        if error is None:
            return OK
        if self.as_json:
            self.error(error)
        return exit_code(error)

    def styled(self, text: str, *styles: str, stream: IO[str] | None = None) -> str:
        """The text in colour, where `stream` (stdout if omitted) takes it."""
        if not styles or not self.colors(stream or sys.stdout):
            return text
        return f"\x1b[{';'.join(str(_STYLES[style]) for style in styles)}m{text}\x1b[0m"

    def colors(self, stream: IO[str]) -> bool:
        """Whether to write colours to a stream."""
        if self._color is not None:
            return self._color
        environment = os.environ
        if environment.get("NO_COLOR"):
            return False
        if environment.get("FORCE_COLOR"):
            return True
        return is_terminal(stream) and environment.get("TERM") != "dumb"

    def _tell(self, text: str, end: str = "\n") -> None:
        print(text, file=sys.stderr, end=end, flush=True)  # noqa: T201


def error_facts(error: JackfieldError) -> dict[str, str | None]:
    """An error as data."""
    quoted = f" The server wrote: {one_line(error.server_output)}" if error.server_output else ""
    return {"code": error.code, "message": f"{error.headline}{quoted}", "hint": error.hint}


def is_terminal(stream: Any) -> bool:
    """Whether a stream is an open terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def silence_libraries(output: Output) -> None:
    """Keep what the SDK logs off the terminal unless `--verbose`: what matters of it is in our own errors."""
    if output.verbose:
        return
    import logging

    for name in ("mcp", "httpx2", "httpcore2", "client"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


def current_folder() -> Path:
    """The current directory; the root if it was deleted."""
    try:
        return Path.cwd()
    except OSError:
        return Path("/")


def shown_path(path: Path, environment: Mapping[str, str] = os.environ) -> str:
    """A path as a person would write it: from here, else from home."""
    for start, prefix in ((current_folder(), ""), (Path(environment.get("HOME") or "/nonexistent"), "~/")):
        if path != start and path.is_relative_to(start):
            return f"{prefix}{path.relative_to(start)}"
    return str(path)
