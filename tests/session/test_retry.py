"""What is tried again: the whole table of errors, and of what is known of the call."""

from __future__ import annotations

import pytest

from jackfield import errors
from jackfield.errors import JackfieldError
from jackfield.session.recovery import may_call_again, may_open_again, says_later

NEVER_CALLED_AGAIN = {
    "AuthenticationError",
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
