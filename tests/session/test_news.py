"""Which generation a user has been told of: each loss once, whatever the order in which it comes up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jackfield import JackfieldError, SessionTerminatedError
from jackfield.session import recovery
from jackfield.session.lifecycle import News
from jackfield.session.recovery import UnreportedLosses

GENERATIONS = st.integers(1, 20)


@given(st.lists(GENERATIONS), GENERATIONS)
def test_each_loss_is_told_once_and_none_is_untold(told: list[int], generation: int) -> None:
    user = News()
    for each in told:
        is_news = user.is_due(each)
        assert user.tell(each) is is_news
    latest = max([1, *told])
    assert user.known == latest
    assert user.is_due(generation) is (generation > latest)
    assert user.tell(generation) is (generation > latest)
    assert not user.is_due(generation)
    assert user.tell(generation) is False


@given(GENERATIONS, GENERATIONS)
def test_who_lost_state_is_told_of_the_session_as_it_is(known: int, generation: int) -> None:
    user = News(known)
    user.lose(generation)
    assert user.is_due(generation)
    assert user.known == min(known, generation - 1)


def test_an_error_tells_where_it_says_that_state_is_gone() -> None:
    user = News()
    user.tell_by(JackfieldError("No."))
    user.tell_by(SessionTerminatedError("Lost.", state_lost=True))
    user.tell_by(SessionTerminatedError("Closed.", generation=3))
    assert user.known == 1
    user.tell_by(SessionTerminatedError("Lost.", state_lost=True, generation=3))
    assert user.known == 4
    user.tell_by(SessionTerminatedError("Lost earlier.", state_lost=True, generation=1))
    assert user.known == 4


def test_what_nobody_was_told_waits_for_the_next_user_of_the_key() -> None:
    losses, later = UnreportedLosses(), UnreportedLosses()
    losses.keep(("rig", "ada"), 3, News(2))
    later.update(losses)
    generation, user = later.take(("rig", "ada"))
    assert (generation, user.known) == (3, 2)
    assert user.is_due(generation + 1)
    for slot_key in (("rig", "ada"), ("rig", "eve"), None):
        generation, user = later.take(slot_key)
        assert (generation, user.known) == (0, 1)
        assert not user.is_due(generation + 1)


def test_the_oldest_are_forgotten() -> None:
    losses = UnreportedLosses()
    for number in range(recovery._MAX_UNREPORTED + 1):
        losses.keep(("rig", str(number)), 2, News())
    assert losses.take(("rig", "0"))[0] == 0
    assert losses.take(("rig", "1"))[0] == 2
