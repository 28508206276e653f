"""What is tried again: the whole table of errors, and of what is known of the call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import AuthenticationError, ServerUnavailableError, SessionConfig, errors
from jackfield.config.settings import backoff
from jackfield.errors import JackfieldError
from jackfield.session.calling import may_call_again
from jackfield.session.recovery import may_open_again, says_later, wait_before_next

NEVER_CALLED_AGAIN = {
    "AuthenticationError",
    "InvalidArgumentsError",
    "PoolTimeoutError",
    "RequestError",
    "ServerLimitError",
    "SessionTimeoutError",
    "ToolError",
}
NEVER_OPENED_AGAIN = {"AuthenticationError", "ConfigError"}
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, JackfieldError)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sent", [True, False, None])
@pytest.mark.parametrize("is_safe", [True, False])
def test_a_call_is_made_again_only_where_it_does_no_harm(
    kind: type[JackfieldError], sent: bool | None, is_safe: bool
) -> None:
    harmless = sent is False or is_safe
    assert may_call_again(kind("x", sent=sent), is_safe) == (harmless and kind.__name__ not in NEVER_CALLED_AGAIN)


@pytest.mark.parametrize("kind", KINDS)
def test_opening_is_tried_again_where_waiting_may_help(kind: type[JackfieldError]) -> None:
    assert may_open_again(kind("x")) == (kind.__name__ not in NEVER_OPENED_AGAIN)


@pytest.mark.parametrize(("retry_after", "says"), [(None, False), (0.0, True), (4.9, True), (5.0, True), (5.1, False)])
def test_a_server_that_asks_to_come_back_soon(retry_after: float | None, says: bool) -> None:
    assert says_later(JackfieldError("x", retry_after=retry_after), within_seconds=5.0) is says


@given(st.floats(0.001, 10), st.floats(0.001, 3600), st.integers(0, 5000))
def test_the_wait_doubles_up_to_its_bound(first: float, longest: float, doublings: int) -> None:
    wait = backoff(first, longest, doublings)
    assert wait <= longest
    assert wait == min(longest, first * 2 ** min(doublings, 30))
    assert backoff(first, longest, doublings + 1) in (wait, min(longest, 2 * wait))


SETTINGS = SessionConfig(timeout=10, retry_attempts=3, retry_delay=1, max_retry_delay=4)
NEVER = SETTINGS.model_copy(update={"retry_attempts": 0})
DOWN = ServerUnavailableError("down")
LATER = ServerUnavailableError("later", retry_after=3.0)
MUCH_LATER = ServerUnavailableError("later", retry_after=5.0)
FAR_TOO_LATE = ServerUnavailableError("later", retry_after=11.0)


@pytest.mark.parametrize(
    ("settings", "error", "failures", "was_open", "is_lost", "is_asked_for", "least"),
    [
        # The first opening: again only where the server asks for it.
        (SETTINGS, DOWN, 1, False, False, False, None),
        (SETTINGS, LATER, 1, False, False, False, 3.0),
        (SETTINGS, LATER, 3, False, False, False, None),
        (SETTINGS, MUCH_LATER, 1, False, False, False, None),
        (SETTINGS, FAR_TOO_LATE, 1, False, False, False, None),
        (NEVER, LATER, 1, False, False, False, None),
        # Lost: at once, unless it was lost again before it answered anything.
        (SETTINGS, DOWN, 0, True, True, False, 0.0),
        (SETTINGS, DOWN, 1, True, True, False, 0.0),
        (SETTINGS, DOWN, 2, True, True, False, 1.5),
        (SETTINGS, DOWN, 3, True, True, False, None),
        (NEVER, DOWN, 0, True, True, False, None),
        (NEVER, DOWN, 0, True, True, True, 0.0),
        (NEVER, DOWN, 1, True, False, True, None),
        # Not reopened: again after a while, up to `retry_attempts` in all.
        (SETTINGS, DOWN, 1, True, False, False, 0.75),
        (SETTINGS, DOWN, 2, True, False, False, 1.5),
        (SETTINGS, DOWN, 3, True, False, False, None),
        (SETTINGS, LATER, 1, True, False, False, 3.0),
        (SETTINGS, MUCH_LATER, 1, True, False, False, None),
        (SETTINGS, AuthenticationError("no"), 1, True, False, False, None),
        (SETTINGS, AuthenticationError("no"), 1, True, True, False, 0.0),
    ],
)
def test_when_a_session_is_opened_once_more(
    settings: SessionConfig,
    error: JackfieldError,
    failures: int,
    was_open: bool,
    is_lost: bool,
    is_asked_for: bool,
    least: float | None,
) -> None:
    wait = wait_before_next(settings, error, failures, was_open=was_open, is_lost=is_lost, is_asked_for=is_asked_for)
    if least is None:
        assert wait is None
    elif least == 0:
        assert wait == 0
    else:
        assert wait is not None
        assert least <= wait <= least / 0.75 * 1.25
