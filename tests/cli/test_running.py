"""What signals do to a command while its event loop runs."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from jackfield.cli.running import run


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_job_which_closes_what_it_opened(number: signal.Signals) -> None:
    closed: list[str] = []

    async def job() -> None:
        try:
            send(number)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            closed.append("all")

    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended:
        run(job)
    signal.signal(number, before)
    assert ended.value.code == 128 + number
    assert closed == ["all"]


def test_ctrl_c_again_gives_up_waiting_but_breaks_off_no_step() -> None:
    seen: list[str] = []

    async def job() -> None:
        try:
            send(signal.SIGINT)
            await asyncio.sleep(60)
        finally:
            seen.append("closing")
            send(signal.SIGINT)
            signal.sigpending()  # a moment in which Python's own handler would raise
            seen.append("a whole step")
            try:
                await asyncio.sleep(60)
            finally:
                seen.append("given up")

    with pytest.raises(KeyboardInterrupt):
        run(job)
    assert seen == ["closing", "a whole step", "given up"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_is_ignored_stays_so() -> None:
    async def job() -> str:
        send(signal.SIGHUP)
        await asyncio.sleep(0.01)
        return "done"

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run(job) == "done"
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_the_job_raises_comes_through() -> None:
    async def job() -> None:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        run(job)
    with pytest.raises(SystemExit) as ended:
        run(cancelled)
    assert ended.value.code == 1


async def cancelled() -> None:
    raise asyncio.CancelledError
