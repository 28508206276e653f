"""The task that belongs to a session ends, whatever cancels it and whatever listeners raise."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal

import anyio
import pytest
from tests.conftest import Unruly, strays

from jackfield import Event, JackfieldError, MCPClientSessionManager, SessionClosed, SessionOpening
from jackfield.loops import spawn

Ending = Literal["returns", "cancels the task", "cancels all"]


async def test_the_end_of_a_task_that_never_began_is_known() -> None:
    ends: list[str] = []

    async def body() -> None:
        await anyio.sleep_forever()

    task = spawn(body, "never begun", ended=lambda: ends.append("end"), is_entering=lambda: False)
    assert isinstance(task, asyncio.Task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ends == ["end"]


# What anyio and the SDK had begun when the loop was shut down under them.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("key", [None, "ada"])
@pytest.mark.parametrize("ending", ["returns", "cancels the task", "cancels all"])
def test_a_loop_that_ends_while_a_session_opens_does_end(unruly: Unruly, ending: Ending, key: str | None) -> None:
    async def main(steps: int) -> None:
        async def use() -> None:
            async with MCPClientSessionManager().open_session(unruly(), key=key):
                await anyio.sleep_forever()

        task = asyncio.create_task(use())
        for _ in range(steps):
            await asyncio.sleep(0)
        if ending == "cancels the task":
            task.cancel()
        elif ending == "cancels all":
            for other in asyncio.all_tasks() - {asyncio.current_task()}:
                other.cancel()
            await asyncio.wait([task])

    for steps in range(8):
        asyncio.run(main(steps))
    assert not strays()


class EndOfProgram(BaseException):
    """As `SystemExit`, but nothing else in the test's process minds it."""


def raises(kind: type[BaseException], on: type[Event]) -> Callable[[Event], None]:
    def listener(event: Event) -> None:
        if isinstance(event, on):
            raise kind

    return listener


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("on", [Event, SessionOpening, SessionClosed])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, EndOfProgram])
def test_a_listener_that_ends_the_program_leaves_nobody_waiting(
    unruly: Unruly, kind: type[BaseException], on: type[Event]
) -> None:
    async def main() -> None:
        async with MCPClientSessionManager(on_event=raises(kind, on)) as manager:
            async with manager.open_session(unruly(), key="ada") as session:
                await session.call_tool("count")

    with contextlib.suppress(kind, JackfieldError):
        asyncio.run(main())
    assert not strays()


async def test_a_cancellation_that_a_listener_raises_is_an_error_of_the_listener(
    unruly: Unruly, caplog: pytest.LogCaptureFixture
) -> None:
    async with MCPClientSessionManager(on_event=raises(asyncio.CancelledError, Event)).open_session(
        unruly()
    ) as session:
        assert (await session.call_tool("count")).text == "1"
    assert "listener raised on CallFinished" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_script_whose_listener_ends_it_ends(unruly: Unruly) -> None:
    manager = MCPClientSessionManager(on_event=raises(SystemExit, SessionOpening))
    with pytest.raises(BaseException), manager.open_session_sync(unruly()):  # noqa: B017
        pass
    assert not strays()
