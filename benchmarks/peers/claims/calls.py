"""How long a call may take, what it may bring, and what cancels it."""

from __future__ import annotations

from typing import Any

from subject import NoEndError, Way, cancellable, eventually
from trial import QUICK, Seen, Trial, is_on, outcome, said, words_of


async def cancelled_call_stops(trial: Trial, way: Way) -> Seen:
    """Cancelling a call also cancels it on the server, and the session stays usable."""
    async with way([trial.unruly()]) as subject:
        before = trial.running()
        call, cancel = cancellable(subject, "sleep", {"seconds": 30})
        assert await eventually(lambda: trial.logged("run sleep"), QUICK)
        busy = trial.running() - before or before
        try:
            cancel()
        except Exception as error:
            return Seen(False, f"cancelling raised {said(error)}")
        stopped = await outcome(call)
        told = await eventually(lambda: trial.logged("cancelled") or not (trial.running() & busy), 3)
        answer = await outcome(subject.call("echo", {"text": "on"}))
    on = is_on(answer)
    if isinstance(stopped, NoEndError):
        return Seen(False, "the call continues")
    words = "the server was notified" if trial.logged("cancelled") else "its process was terminated"
    words = words if told else "the server was not notified and continues to work"
    return Seen(told and on, words + ("" if on else f"; then {words_of(answer)}"))


async def takes_as_long_as_it_takes(trial: Trial, way: Way) -> Seen:
    """By default, a call may take 6 seconds."""
    async with way([trial.unruly()]) as subject:
        answer = await outcome(subject.call("sleep", {"seconds": 6}), 30)
    ok = "slept" in getattr(answer, "text", "")
    return Seen(ok, "answered" if ok else words_of(answer))


async def call_can_be_bounded(trial: Trial, bounded: Any) -> Seen:
    """A call can have a timeout, after which the server is notified and the session stays usable."""
    async with bounded(trial.unruly(), 1.0) as subject:
        before = trial.running()
        first = await outcome(subject.call("sleep", {"seconds": 20}), QUICK)
        ended = await eventually(lambda: trial.logged("cancelled") or not trial.running() - before, 2)
        second = await outcome(subject.call("echo", {"text": "on"}))
    if isinstance(first, NoEndError):
        return Seen(False, str(first))
    words = "the server was notified" if trial.logged("cancelled") else "its process was terminated"
    if not ended or (before and not trial.logged("cancelled")):
        words, ended = "the server was not notified and continues to work", False
    afterwards = "the session stays usable" if is_on(second) else words_of(second)
    return Seen(is_on(second) and ended, f"{words}; {afterwards}")


async def checks_arguments(trial: Trial, way: Way) -> Seen:
    """Arguments that do not match the schema are rejected before anything is sent."""
    async with way([trial.unruly()]) as subject:
        answer = await outcome(subject.call("add", {"a": "one"}), 3)
        sent = trial.logged("run add")
    return Seen(not sent, "sent" if sent else f"not sent: {words_of(answer)}")


async def bounds_what_comes_back(trial: Trial, way: Way) -> Seen:
    """By default, a result of 40 MB is refused, and the session stays usable."""
    async with way([trial.unruly()]) as subject:
        answer = await outcome(subject.call("flood", {"bytes": 40 * 1024 * 1024}), 90)
        second = await outcome(subject.call("echo", {"text": "on"}))
    if isinstance(answer, NoEndError):
        return Seen(False, str(answer))
    if not isinstance(answer, BaseException) and len(answer.text) > 1_000_000:
        return Seen(False, "accepted")
    return Seen(is_on(second), words_of(answer) + ("" if is_on(second) else f"; then {words_of(second)}"))
