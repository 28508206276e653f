"""Each HTTP status with each kind of body, against one real server for all of them."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import anyio
import pytest
from tests.daily import daily
from tests.reliability.scenario import Line, Outcome, Rig, rig
from tests.reliability.table import REMOTE, STATUS_TABLE, StatusRow

from jackfield import JackfieldError, MCPClientSessionManager, Session

_AT_ONCE = 8


async def outcome_of(
    session: Session, server: Rig, tool: str, n: int, answer: str, errors: dict[str, JackfieldError] | None = None
) -> Outcome:
    try:
        result = await session.call_tool(tool, {"n": n, "answer": answer})
    except JackfieldError as error:
        if errors is not None:
            errors[answer] = error
        return Outcome(error.code, error.sent, error.state_lost, server.runs(n))
    assert result.text == f"{tool} {n}"
    return Outcome("result", None, result.state_lost, server.runs(n))


@pytest.mark.parametrize("line", REMOTE)
async def test_each_status_with_each_body(line: Line, tmp_path: Path) -> None:
    got: dict[str, Outcome] = {}
    expected: dict[str, Outcome] = {}
    errors: dict[str, JackfieldError] = {}
    numbers = count(1)
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def one(session: Session, row: StatusRow, tool: str, answer: str) -> None:
        cell = f"{tool} {answer}"
        expected[cell] = row.outcome(row.got if tool == "work" else row.read_only)
        async with limit:
            got[cell] = await outcome_of(session, server, tool, next(numbers), answer, errors)

    answers = [
        (row, f"{status} {body} {row.words}") for row in STATUS_TABLE for status in row.statuses for body in row.bodies
    ]
    # By day, each answer over one of the lines that it is for.
    cells = [
        (row, tool, answer)
        for turn, (row, answer) in enumerate(answers)
        if line in daily([row.lines[turn % len(row.lines)]], whole=row.lines)
        for tool in ("work", "look")
    ]
    with rig(line, tmp_path, retry_delay=0.001) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            await session.list_tools()
            async with anyio.create_task_group() as tasks:
                for cell in cells:
                    if not cell[0].state_lost:
                        tasks.start_soon(one, session, *cell)
            assert session.generation == 1
            for cell in cells:
                if cell[0].state_lost:
                    await one(session, *cell)
            assert session.generation == 1 + sum(row.state_lost for row, _, _ in cells)
    assert len(got) == len(cells)
    assert got == expected
    for answer, error in errors.items():
        status, body, words = answer.split(" ", 2)
        said = words in str(error)
        assert said == (body in ("text", "null", "foreign", "own") and int(status) >= 400) or words == "challenge"


@pytest.mark.parametrize("line", REMOTE)
async def test_an_answer_with_an_error_status_may_be_long(line: Line, tmp_path: Path) -> None:
    with rig(line, tmp_path) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            outcome = await outcome_of(session, server, "look", 1, f"500 own {'x' * 20_000}")
            assert outcome == Outcome("request_failed", True, runs=0)


async def test_who_knows_what_writes_503_has_any_call_made_again(tmp_path: Path) -> None:
    with rig("http", tmp_path, retry_delay=0.001, retry_on_503=True) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            assert await outcome_of(session, server, "work", 1, "503 html x") == Outcome("result")
            assert (await outcome_of(session, server, "work", 2, "502 html x")).sent is None


async def test_a_server_that_asks_for_too_long_a_wait_costs_no_wait(tmp_path: Path) -> None:
    with rig("http", tmp_path, "--fault", f"429/{'9' * 400}", "--when", "call", call_timeout=30) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            with anyio.fail_after(25):
                with pytest.raises(JackfieldError, match="HTTP 429") as caught:
                    await session.call_tool("work", {"n": 1})
                assert caught.value.sent is False
                assert (await session.call_tool("work", {"n": 2})).text == "work 2"
