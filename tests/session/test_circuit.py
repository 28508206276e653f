"""The circuit breaker: when a server is left alone, for how long, and what callers are told."""

from __future__ import annotations

import pytest

from jackfield import (
    AuthenticationError,
    JackfieldError,
    ServerStartError,
    ServerUnavailableError,
    SessionConfig,
    StdioConfig,
)
from jackfield.session import recovery
from jackfield.session.recovery import CircuitBreaker, Circuits

SETTINGS = SessionConfig(failure_threshold=2, retry_delay=0.5, max_retry_delay=30)
FAILURE = ServerStartError("It exited.", server_output="no such port", hint="Name a port.")


class Clock:
    """Time that only the test moves."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(recovery, "time", clock)
    return clock


def failing(times: int, settings: SessionConfig = SETTINGS, error: JackfieldError = FAILURE) -> CircuitBreaker:
    """A breaker after so many failures in a row."""
    breaker = CircuitBreaker("rig", settings)
    for _ in range(times):
        breaker.failed(error)
    return breaker


def refusal(breaker: CircuitBreaker) -> ServerUnavailableError:
    """What a caller is told now."""
    with pytest.raises(ServerUnavailableError) as caught:
        breaker.enter()
    return caught.value


def test_a_new_one_lets_all_through(clock: Clock) -> None:
    breaker = CircuitBreaker("rig", SETTINGS)
    assert breaker.is_at_rest
    breaker.enter()
    breaker.enter()
    assert breaker.is_at_rest


def test_below_the_threshold_all_come_through(clock: Clock) -> None:
    breaker = failing(1)
    assert not breaker.is_at_rest
    breaker.enter()
    breaker.enter()


def test_at_the_threshold_callers_fail_at_once_and_are_told_why(clock: Clock) -> None:
    error = refusal(failing(2))
    assert error.message == (
        "Server 'rig' could not be opened 2 times in a row and is in cool-down; next attempt in 4.0 s. "
        "The last failure: It exited."
    )
    assert error.server_name == "rig"
    assert error.sent is False
    assert error.retryable
    assert error.retry_after == 4.0
    assert error.server_output == "no such port"
    assert error.hint == "Name a port."


@pytest.mark.parametrize(("failures", "seconds"), [(2, 4.0), (3, 8.0), (4, 16.0), (5, 30.0), (60, 30.0)])
def test_the_pause_doubles_up_to_its_bound(clock: Clock, failures: int, seconds: float) -> None:
    assert refusal(failing(failures)).retry_after == seconds


def test_a_huge_number_of_failures_is_no_huge_number() -> None:
    tiny = SessionConfig(failure_threshold=1, retry_delay=1e-9, max_retry_delay=3600)
    waited = refusal(failing(2000, tiny)).retry_after
    assert waited == pytest.approx(1e-9 * 2**30, rel=0.1)


def test_a_server_that_asks_for_longer_is_left_alone_for_longer(clock: Clock) -> None:
    assert refusal(failing(2, error=ServerUnavailableError("Busy.", retry_after=90.0))).retry_after == 90.0
    assert refusal(failing(2, error=ServerUnavailableError("Busy.", retry_after=0.5))).retry_after == 4.0


def test_when_the_pause_is_over_one_is_let_through_as_a_trial(clock: Clock) -> None:
    breaker = failing(2)
    clock.now += 3.0
    assert refusal(breaker).retry_after == 1.0
    clock.now += 1.0
    breaker.enter()
    assert refusal(breaker).retry_after == 0.1, "somebody else tries already"
    clock.now += 100.0
    assert refusal(breaker).retry_after == 0.1


def test_a_trial_that_fails_begins_a_longer_pause(clock: Clock) -> None:
    breaker = failing(2)
    clock.now += 4.0
    breaker.enter()
    breaker.failed(AuthenticationError("No token."))
    error = refusal(breaker)
    assert error.retry_after == 8.0
    assert "3 times" in error.message
    assert error.message.endswith("The last failure: No token.")
    clock.now += 8.0
    breaker.enter()


def test_a_trial_that_succeeds_ends_it(clock: Clock) -> None:
    breaker = failing(2)
    clock.now += 4.0
    breaker.enter()
    breaker.succeeded()
    assert breaker.is_at_rest
    breaker.failed(FAILURE)
    breaker.enter()
    breaker.enter()
    breaker.failed(FAILURE)
    assert "2 times" in refusal(breaker).message, "counting begins anew"


def test_a_trial_that_was_given_up_leaves_room_for_another(clock: Clock) -> None:
    breaker = failing(2)
    clock.now += 4.0
    breaker.enter()
    breaker.left()
    assert not breaker.is_at_rest
    breaker.enter()


def test_a_trial_under_way_is_not_rest(clock: Clock) -> None:
    at_once = SessionConfig(failure_threshold=1)
    breaker = failing(1, at_once)
    clock.now += 100.0
    breaker.enter()
    assert not breaker.is_at_rest


CONFIG = StdioConfig(server_name="rig", command="server", session=SETTINGS)
OTHER = StdioConfig(server_name="other", command="server", session=SETTINGS)


def test_a_breaker_exists_from_the_first_failure_until_its_server_opens(clock: Clock) -> None:
    circuits = Circuits()
    circuits.enter(CONFIG, "ada")
    circuits.succeeded(CONFIG, "ada")
    circuits.left(CONFIG, "ada")
    assert not circuits
    circuits.failed(CONFIG, "ada", FAILURE)
    circuits.left(CONFIG, "ada")
    assert list(circuits) == [("rig", "ada")]
    circuits.succeeded(CONFIG, "ada")
    assert not circuits


def test_each_server_and_key_has_its_own_breaker(clock: Clock) -> None:
    circuits = Circuits()
    for _ in range(2):
        circuits.failed(CONFIG, "ada", FAILURE)
        circuits.failed(OTHER, None, FAILURE)
    circuits.failed(CONFIG, None, FAILURE)
    with pytest.raises(ServerUnavailableError, match="'rig' could not be opened 2 times"):
        circuits.enter(CONFIG, "ada")
    circuits.enter(CONFIG, None)
    circuits.enter(OTHER, "ada")
    assert [(one.server_name, one.key) for one in circuits.cool_downs()] == [("rig", "ada"), ("other", None)]
    clock.now += 4.0
    circuits.enter(OTHER, None)
    with pytest.raises(ServerUnavailableError):
        circuits.enter(OTHER, None)
    circuits.left(OTHER, None)
    circuits.enter(OTHER, None)
