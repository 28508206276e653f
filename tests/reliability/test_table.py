"""Every cell of the table of faults, against a real server."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from tests.conftest import eventually, strays
from tests.daily import daily
from tests.reliability.scenario import Line, Outcome, play
from tests.reliability.table import CELLS, FAULTS, PAGE, TABLE, Row, rendered

from jackfield.session import task

_AT_ONCE = 4
_CELL_SECONDS = 40

Played = dict[int, Outcome | BaseException]


def every_day() -> set[int]:
    """Cells for `make test`: each row once over stdio and once over HTTP, for which eras and SSE take turns."""
    by_row: dict[tuple[int, bool], list[int]] = {}
    for number, (line, row) in enumerate(CELLS):
        by_row.setdefault((TABLE.index(row), line.startswith("stdio")), []).append(number)
    return {numbers[turn % len(numbers)] for turn, numbers in enumerate(by_row.values())}


EVERY_DAY = every_day()


async def play_all(numbers: list[int], outcomes: Played, folders: pytest.TempPathFactory) -> None:
    """Play several cells at once: they mostly wait."""
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def one(number: int) -> None:
        line, row = CELLS[number]
        async with limit:
            try:
                with anyio.fail_after(_CELL_SECONDS):
                    outcomes[number] = await play(line, row.fault, row.when, folders.mktemp("cell"))
            except Exception as error:
                outcomes[number] = error

    async with anyio.create_task_group() as tasks:
        for number in numbers:
            tasks.start_soon(one, number)


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """What came of the cells that this run asks for."""
    items = [item for item in request.session.items if item.module is request.module]
    wanted = {item.callspec.params["number"] for item in items if hasattr(item, "callspec")}
    outcomes: Played = {}
    with pytest.MonkeyPatch.context() as patched:
        # How long answers of a session that was lost are waited for must not decide, however busy the machine is.
        patched.setattr(task, "_DRAIN_SECONDS", 10.0)
        anyio.run(play_all, sorted(wanted), outcomes, tmp_path_factory)
    assert eventually(lambda: not strays()), strays()
    return outcomes


def name(cell: tuple[Line, Row]) -> str:
    line, row = cell
    return f"{row.fault}-{row.when}-{line}".replace(" ", "_")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, id=name(cell), marks=[] if number in EVERY_DAY else pytest.mark.whole)
        for number, cell in enumerate(CELLS)
    ],
)
@pytest.mark.timeout(240)
def test_cell(number: int, played: Played) -> None:
    outcome = played[number]
    if isinstance(outcome, BaseException):
        raise outcome
    assert outcome == CELLS[number][1].expected


def test_the_page_is_written_from_the_table() -> None:
    assert Path(PAGE).read_text() == rendered(), "run: python -m tests.reliability.table"
    assert {row.fault for row in TABLE} == set(FAULTS)


def test_on_trio_it_comes_to_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    # Over HTTP it does so, too, but httpx2's and the SDK's own generators are not closed as trio wants it, and warn.
    over_stdio = [number for number, (line, _) in enumerate(CELLS) if line.startswith("stdio")]
    numbers = daily([number for number in over_stdio if number in EVERY_DAY], whole=over_stdio)
    outcomes: Played = {}
    anyio.run(play_all, numbers, outcomes, tmp_path_factory, backend="trio")
    assert outcomes == {number: CELLS[number][1].expected for number in numbers}
