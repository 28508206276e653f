"""docs/benchmarks.md says what was measured, and the program that measures it runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import overview
from benchmarks.arena import PEERS, RAW_OF_PEERS
from benchmarks.figures import RESULTS, Cell, Figure, Results, Row, row_of
from benchmarks.page import PAGE, PICTURES, rendered
from benchmarks.tables import ahead, verdict
from tests.daily import daily
from tests.docs.blocks import DOCS, ROOT
from tests.forked import unmeasured

VERSIONS = (ROOT / "benchmarks" / "peers" / "versions.txt").read_text()


def test_the_page_is_written_from_the_results() -> None:
    assert PAGE.read_text() == rendered(Results.read()), "run: python -m benchmarks --page"


def test_the_page_shows_every_picture_and_no_other() -> None:
    shown = re.findall(r"\]\((images/[^)]+)\)", PAGE.read_text())
    assert sorted(DOCS / name for name in shown) == sorted(PICTURES.iterdir())


def test_the_page_begins_with_one_chart_and_three_sentences() -> None:
    results = Results.read()
    assert (PICTURES / overview.PICTURE).read_text() == overview.picture(results), "run: python -m benchmarks --page"
    title, chart, words, heading, *_ = PAGE.read_text().split("\n\n")
    assert (title, heading) == ("# Benchmarks", "## How it is measured")
    assert overview.PICTURE in chart
    assert len(re.findall(r"\.(?=\s|$)", words)) == 3


def test_what_was_measured_is_complete() -> None:
    results = Results.read()
    subjects = {row.subject.partition(",")[0].partition("_")[0] for row in results.rows}
    assert subjects >= {
        "warm", "opening", "recovery", "closing", "leftovers", "importing", "one", "commands", "recall", "finding",
        "tokens", "adapters", "growth",
    }  # fmt: skip
    for peer in [*PEERS, *RAW_OF_PEERS]:
        assert any(peer.name in row.cells for row in results.of("opening")), peer.name
    for row in results.rows:
        for name, cell in row.cells.items():
            assert cell.value or cell.note, (row.name, name)


def test_the_versions_are_those_that_are_pinned() -> None:
    for environment, found in Results.read().about["versions"].items():
        if environment:
            line = next(line for line in VERSIONS.splitlines() if line.startswith(f"{environment} "))
            for name, version in re.findall(r"([\w-]+)(?:\[[\w,]+\])?==([\d.]+)", line):
                assert found.get(name, version) == version


def test_the_results_tell_nothing_of_where_they_were_measured() -> None:
    for path in [RESULTS, *PICTURES.iterdir()]:
        assert not re.search(r"/(tmp|work|root|home)/", path.read_text()), path


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    row = row_of("warm_call", "a row", {"raw": [1.0, 2.0, 4.0], "jackfield": [2.0, 2.0, 4.0]}, base="raw", at=3)
    row.cells["ag2"] = Cell(note="it cannot")
    results = Results({"date": "today"}, [row])
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results
    assert row.cells["jackfield"].ratio == Figure(1.0, 1.0, 1.5, 3)


def test_ahead_is_who_takes_less_beyond_the_spread() -> None:
    def row(theirs: Figure) -> Row:
        return Row("warm_call", "a row", "s", {"jackfield": Cell(Figure(2, 1.8, 2.2, 9)), "fastmcp": Cell(theirs)})

    assert ahead([row(Figure(1, 0.9, 1.1, 9))], {"fastmcp": "fastmcp"}) == {"a row": ["fastmcp 0.50"]}
    assert ahead([row(Figure(1.9, 1.7, 2.1, 9))], {"fastmcp": "fastmcp"}) == {}
    assert "nobody" in verdict([row(Figure(3, 2.9, 3.1, 9))])


ROWS = {"warm_call": ["warm"], "adapters": ["adapters"], "finding": ["finding", "recall", "tokens"]}
"""What is measured of a subject."""


@pytest.mark.timeout(300)
def test_it_runs(tmp_path: Path) -> None:
    """One round of little, without the peers. For all subjects: `python -m benchmarks --quick`."""
    subjects = daily(("finding",), whole=("warm_call", "adapters", "finding"))
    only = [word for subject in subjects for word in ("--only", subject)]
    command = [sys.executable, "-m", "benchmarks", "--quick", *only, "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / RESULTS.name).read_text())["rows"]
    notes = [cell["note"] for row in rows for cell in row["cells"].values() if "note" in cell]
    found = {re.split("[_,]", row["subject"])[0] for row in rows}
    assert found == {part for subject in subjects for part in ROWS[subject]}
    assert [line.split()[0] for line in done.stdout.splitlines()] == [*subjects]
    assert notes == [], notes
    assert (tmp_path / PAGE.name).read_text().startswith("# Benchmarks\n")
