"""Lines of a terminal, which may be taken back."""

from __future__ import annotations

import os
from collections.abc import Iterator

import anyio
import pytest

from jackfield.gateway import stdio
from jackfield.gateway.lines import DescriptorLines


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
