"""Lines of a terminal, which may be taken back, and of a pipe, which may be taken before they are read."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Iterator

import anyio
import pytest

from jackfield.gateway import stdio
from jackfield.gateway.stdin_lines import DescriptorLines, WatchedLines


@pytest.fixture
def terminal(nothing_left: None) -> Iterator[tuple[int, int]]:
    """The side of the person, and that of the program."""
    person, program = os.openpty()
    yield person, program
    os.close(person)
    os.close(program)


async def test_a_line_that_ctrl_c_takes_back_is_not_waited_for(
    terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    person, program = terminal
    wait_readable, waits = anyio.wait_readable, 0

    async def taken_back(descriptor: int) -> None:
        nonlocal waits
        waits += 1
        if waits > 1:  # The first time the line was there, and is gone before it is read.
            os.write(person, b"next\n")
            await wait_readable(descriptor)

    monkeypatch.setattr(anyio, "wait_readable", taken_back)
    reading = stdio._never_blocking(program)
    try:
        with anyio.fail_after(10):
            assert await anext(DescriptorLines(reading)) == "next\n"
    finally:
        os.close(reading)
    assert waits == 2


def test_the_terminal_of_others_goes_on_blocking(terminal: tuple[int, int]) -> None:
    _, program = terminal
    reading = stdio._never_blocking(program)
    assert (os.get_blocking(reading), os.get_blocking(program)) == (False, True)
    os.close(reading)


async def test_what_is_taken_is_not_read_and_the_order_stays(nothing_left: None) -> None:
    """Lines are taken whole, while the next one is waited for; a failure costs none."""
    reading, writing = os.pipe()
    taken: list[str] = []

    def takes(line: str) -> bool:
        if line == "fail\n" and "fail\n" not in taken:
            taken.append(line)
            raise RuntimeError("own")
        taken.extend([line] if line.startswith("t") else [])
        return line.startswith("t")

    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: failures.append(about["exception"]))
    lines, read = WatchedLines(reading, takes), list[str]()
    try:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:

                async def read_all() -> None:
                    async for line in lines:
                        read.append(line)

                tasks.start_soon(read_all)
                for written in (b"r1\n", b"t1\nt2\n", b"t3\nr2\nt4\n", b"t", b"5\n", b"fail\n", "té\n".encode()):
                    os.write(writing, written)
                    while select.select([reading], [], [], 0)[0]:
                        await anyio.sleep(0.001)
                    await anyio.wait_all_tasks_blocked()
                os.close(writing)
    finally:
        lines.close()
        os.close(reading)
        asyncio.get_running_loop().set_exception_handler(None)
    assert taken == ["t1\n", "t2\n", "t3\n", "fail\n", "té\n"]
    assert read == ["r1\n", "r2\n", "t4\n", "t5\n", "fail\n"]
    assert [str(one) for one in failures] == ["own"]
