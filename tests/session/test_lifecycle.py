"""The table of a session's life: every walk through it ends well, and nothing happens outside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jackfield import SessionTerminatedError
from jackfield.loops import Changed
from jackfield.session.lifecycle import TRANSITIONS, Cause, Lifecycle, State, StateName, UnexpectedCauseError

PAIRS = [(state, cause) for state in State for cause in Cause]


def reached_from(start: State, steps: Iterable[tuple[State, State]]) -> set[State]:
    """All states that some of these steps lead to."""
    steps, reached = list(steps), {start}
    while more := {after for before, after in steps if before in reached} - reached:
        reached |= more
    return reached


STEPS = [(before, after) for (before, _), after in TRANSITIONS.items()]


def at(state: State) -> Lifecycle:
    """A life that has come so far."""
    ways: dict[State, list[Cause]] = {
        State.OPENING: [],
        State.OPEN: [Cause.OPENED],
        State.RECOVERING: [Cause.OPENED, Cause.DISCONNECTED],
        State.LOST: [Cause.OPENED, Cause.DISCONNECTED, Cause.RECOVERY_FAILED],
        State.CLOSING: [Cause.OPENED, Cause.IDLE],
        State.CLOSED: [Cause.OPENED, Cause.IDLE, Cause.ENDED],
    }
    life = Lifecycle()
    for cause in ways[state]:
        life.fire(cause)
    assert life.state == state
    return life


def test_users_read_the_states_by_their_names() -> None:
    assert set(get_args(StateName)) == {state.value for state in State}


def test_every_state_is_reached_and_leads_to_the_end() -> None:
    assert reached_from(State.OPENING, STEPS) == set(State)
    for state in State:
        assert State.CLOSED in reached_from(state, STEPS)


def test_nothing_leads_out_of_closed_and_only_the_end_out_of_closing() -> None:
    assert not [before for before, _ in STEPS if before is State.CLOSED]
    assert [(cause, after) for (state, cause), after in TRANSITIONS.items() if state is State.CLOSING] == [
        (Cause.ENDED, State.CLOSED)
    ]


def test_every_cause_is_of_use_and_most_lead_to_one_state() -> None:
    to = {cause: {after for (_, given), after in TRANSITIONS.items() if given is cause} for cause in Cause}
    assert all(to.values())
    assert {cause for cause in Cause if len(to[cause]) > 1} == {Cause.RETRIED}


@pytest.mark.parametrize("state", State)
def test_a_session_can_be_cut_off_until_it_closes(state: State) -> None:
    assert at(state).allows(Cause.CUT_OFF) is (state not in (State.CLOSING, State.CLOSED))


@pytest.mark.parametrize(("state", "cause"), PAIRS)
def test_what_the_table_does_not_have_raises_and_changes_nothing(state: State, cause: Cause) -> None:
    life = at(state)
    if life.allows(cause):
        assert life.fire(cause) == life.state == TRANSITIONS[state, cause]
        assert life.cause == cause
    else:
        before = vars(life).copy()
        with pytest.raises(UnexpectedCauseError, match=f"A session that is {state.value} cannot be {cause.value}"):
            life.fire(cause)
        assert vars(life) == before


class Walk(RuleBasedStateMachine):
    """Any walk through the table, against what a life has to say of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[State] = []
        self.life = Lifecycle(3, lambda: self.told.append(self.life.state))
        self.opened = self.fired = 0
        self.error: SessionTerminatedError | None = None
        self.closed_by: Cause | None = None

    @precondition(lambda self: self.life.state is not State.CLOSED)
    @rule(data=st.data(), has_error=st.booleans())
    def step(self, data: st.DataObject, has_error: bool) -> None:
        before = self.life.state
        cause = data.draw(st.sampled_from([cause for cause in Cause if self.life.allows(cause)]))
        error = SessionTerminatedError(f"{self.fired}") if has_error else None
        assert self.life.fire(cause, error) == TRANSITIONS[before, cause]
        self.fired += 1
        self.opened += cause is Cause.OPENED
        self.error = None if cause is Cause.OPENED else error or self.error
        if before not in (State.CLOSING, State.CLOSED) and self.life.state in (State.CLOSING, State.CLOSED):
            self.closed_by = cause

    @rule(data=st.data())
    def misstep(self, data: st.DataObject) -> None:
        cause = data.draw(st.sampled_from([cause for cause in Cause if not self.life.allows(cause)]))
        with pytest.raises(UnexpectedCauseError):
            self.life.fire(cause)

    @invariant()
    def it_knows_its_past(self) -> None:
        life = self.life
        assert life.generation == 3 + self.opened
        assert life.was_open is (life.opened_at is not None) is (self.opened > 0)
        assert life.opened_at is None or life.opened_at <= life.since
        assert life.error is self.error
        assert life.closed_by == self.closed_by
        assert life.is_usable is (life.state not in (State.CLOSING, State.CLOSED))
        assert len(self.told) == self.fired
        assert not self.told or self.told[-1] == life.state

    @invariant()
    def only_one_that_was_open_is_recovered_or_lost(self) -> None:
        if self.life.state in (State.OPEN, State.RECOVERING, State.LOST):
            assert self.life.was_open
        if self.life.state is State.OPENING:
            assert not self.life.was_open


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


async def test_those_who_wait_go_on_when_it_is_so_and_not_before() -> None:
    life, seen = Lifecycle(), list[str]()

    async def wait(name: str, *states: State) -> None:
        assert await life.until(*states) in states
        seen.append(name)

    async def wait_until_left(*states: State) -> None:
        assert await life.until_not(*states) not in states
        seen.append("left")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, "open", State.OPEN)
            tasks.start_soon(wait, "over", State.LOST, State.CLOSED)
            tasks.start_soon(wait_until_left, State.OPENING, State.OPEN)
            await anyio.wait_all_tasks_blocked()
            life.fire(Cause.RETRIED)
            await anyio.wait_all_tasks_blocked()
            assert seen == []
            life.fire(Cause.OPENED)
            await anyio.wait_all_tasks_blocked()
            assert seen == ["open"]
            life.fire(Cause.IDLE)
            await anyio.wait_all_tasks_blocked()
            assert seen == ["open", "left"]
            life.fire(Cause.ENDED)
        await life.until(State.CLOSED)
    assert seen == ["open", "left", "over"]


async def test_those_who_wait_go_on_although_a_listener_raises() -> None:
    def raises() -> None:
        raise KeyboardInterrupt

    life = Lifecycle(on_change=raises)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(life.until, State.OPEN)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(KeyboardInterrupt):
                life.fire(Cause.OPENED)


async def test_a_signal_wakes_all_who_wait_and_none_who_come_later() -> None:
    changed, woken = Changed(), list[int]()

    async def wait(number: int) -> None:
        await changed.wait()
        woken.append(number)

    changed.set()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, 1)
        tasks.start_soon(wait, 2)
        await anyio.wait_all_tasks_blocked()
        assert woken == []
        changed.set()
        tasks.start_soon(wait, 3)
        await anyio.wait_all_tasks_blocked()
        assert sorted(woken) == [1, 2]
        changed.set()


async def test_a_condition_is_checked_at_every_signal() -> None:
    changed, count = Changed(), 0
    await changed.until(lambda: True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(changed.until, lambda: count > 1)
        for _ in range(2):
            await anyio.wait_all_tasks_blocked()
            count += 1
            changed.set()
    assert count == 2
