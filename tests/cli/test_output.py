"""Tables, wrapping and paths: the parts of the output that are decided without a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from jackfield.cli.output import Output, shown_path
from jackfield.cli.table import drawn
from jackfield.cli.text import ago, count, duration, one_cell, printable

cells = st.text(max_size=60)


@example([("", "0" * 13, ""), ("0" * 12, "", "0" * 12)], 40, 0)
@given(st.lists(st.tuples(cells, cells, cells), max_size=5), st.integers(40, 200), st.sampled_from([0, 1, 2]))
def test_a_table_fits_its_terminal_and_has_a_line_for_each_row(
    rows: list[tuple[str, str, str]], width: int, squeeze: int
) -> None:
    text = drawn(["A", "B", "C"], rows, width, squeeze, (1,), color=False)
    lines = text.split("\n")
    assert len(lines) == len(rows) + 1
    assert all(cell_len(line) <= max(width, 40) for line in lines)


def test_what_is_cut_says_so() -> None:
    text = drawn(["NAME", "ABOUT"], [["n" * 90, "word " * 40]], 60, 1, (), color=False)
    assert text.splitlines()[1].count("...") == 2
    assert "..." not in drawn(["NAME", "ABOUT"], [["n", "word"]], 60, 1, (), color=True)


def test_numbers_are_set_to_the_right() -> None:
    assert drawn(["A", "N"], [["x", "7"], ["y", "1,234"]], 80, 0, (1,), color=False).splitlines() == [
        "A      N",
        "x      7",
        "y  1,234",
    ]


@given(st.text())
def test_a_cell_is_one_printable_line(text: str) -> None:
    assert one_cell(text).isprintable()
    assert printable(text, "\n").replace("\n", "").isprintable()


@given(st.lists(st.tuples(st.text(alphabet="ab \t\n", max_size=30), st.sampled_from(["", "bold", "dim"])), max_size=4))
def test_styles_are_put_back_letter_for_letter(pieces: list[tuple[str, str]]) -> None:
    plain, colored = Output(color=False), Output(color=True)
    text = "".join(printable(text) for text, _ in pieces)
    (line,) = colored._restyled([text], [(printable(text), style) for text, style in pieces])
    (same,) = plain._restyled([text], pieces)
    stripped = line.replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[2m", "")
    assert stripped == same == text.rstrip()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "just now"), (59, "59 s ago"), (60, "1 min ago"), (7300, "2 h ago"), (9e5, "10 d ago")]
)
def test_times(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_words() -> None:
    assert (duration(0.0123), duration(1.94)) == ("12 ms", "1.9 s")
    assert (count(1, "tool"), count(0, "tool"), count(2, "process", "processes")) == (
        "1 tool",
        "0 tools",
        "2 processes",
    )


def test_paths_are_written_from_here_or_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "home" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    environment = {"HOME": str(home)}
    assert shown_path(here / "a" / "b", environment) == "a/b"
    assert shown_path(home / "c", environment) == "~/c"
    assert shown_path(Path("/etc/x"), environment) == "/etc/x"
    assert shown_path(Path("/etc/x"), {}) == "/etc/x"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "", "NO_COLOR": ""}, False),
    ],
)
def test_colour_outside_of_a_terminal(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with open(tmp_path / "out", "w") as file:
        assert Output().colors(file) is expected
        assert Output(color=False).colors(file) is False
