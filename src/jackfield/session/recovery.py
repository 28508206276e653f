"""Recovery from failures: retries, back-off, and the cool-down of servers that keep failing."""

from __future__ import annotations

import time

from ..config.settings import SessionConfig, backoff
from ..errors import (
    AuthenticationError,
    ConfigError,
    JackfieldError,
    RequestError,
    ServerLimitError,
    ServerUnavailableError,
    SessionTimeoutError,
    ToolError,
)


def may_call_again(error: JackfieldError, is_safe: bool) -> bool:
    """Whether a call that failed does no harm when it is made again, and may then succeed.

    Args:
        error: How it failed.
        is_safe: Whether it may be made again although it may have been executed.
    """
    if isinstance(error, SessionTimeoutError | AuthenticationError | ServerLimitError | RequestError | ToolError):
        return False
    return error.sent is False or is_safe


def may_open_again(error: JackfieldError) -> bool:
    """Whether another attempt to open may well succeed."""
    return not isinstance(error, AuthenticationError | ConfigError)


def says_later(error: JackfieldError, within_seconds: float) -> bool:
    """Whether the server is there, and asks to come back soon."""
    return error.retry_after is not None and error.retry_after <= within_seconds


def wait_before_next(
    settings: SessionConfig,
    error: JackfieldError,
    failures: int,
    *,
    was_open: bool,
    is_lost: bool,
    is_asked_for: bool,
) -> float | None:
    """Seconds to wait before a session is reopened; `None`: not until a caller needs it.

    Args:
        settings: The server's settings.
        error: The failure of the last attempt, or the loss of the session.
        failures: Consecutive openings that failed, or were lost before any answer.
        was_open: Whether the session has ever been open. If not, it is only retried if the server
            asks for that.
        is_lost: Whether the last attempt succeeded, and the session was lost after that.
        is_asked_for: Whether the user requested a new connection, which is opened even with `retry_attempts=0`.
    """
    if not was_open and not says_later(error, settings.timeout):
        return None
    if is_lost and failures <= 1 and (settings.retry_attempts or is_asked_for):
        return 0.0
    is_soon = (error.retry_after or 0.0) <= settings.max_retry_delay
    if may_open_again(error) and failures < settings.retry_attempts and is_soon:
        return settings.wait_before(failures + 1, error.retry_after)
    return None


class CircuitBreaker:
    """Counts the failed openings of one (server, key) since the last successful one.

    Closed, it allows all openings. After `failure_threshold` failures it is open, and callers fail immediately;
    after the cool-down, one opening is allowed as a trial.
    """

    def __init__(self, server_name: str, settings: SessionConfig) -> None:
        self._server_name = server_name
        self._settings = settings
        self._failures = 0
        self._last: JackfieldError | None = None
        self._open_until = 0.0
        self._trying = False

    @property
    def is_at_rest(self) -> bool:
        """Whether it remembers nothing."""
        return self._failures == 0 and not self._trying

    def enter(self) -> None:
        """Ask to open; `succeeded`, `failed` or `left` must follow.

        Raises:
            ServerUnavailableError: The server is in cool-down; says for how long, and the last reason.
        """
        last = self._last
        if last is None or self._failures < self._settings.failure_threshold:
            return
        wait = self._open_until - time.monotonic()
        if wait <= 0 and not self._trying:
            self._trying = True
            return
        wait = max(wait, 0.1)
        raise ServerUnavailableError(
            f"Server {self._server_name!r} could not be opened {self._failures} times in a row and is in "
            f"cool-down; next attempt in {wait:.1f} s. The last reason: {last.message}",
            server_name=self._server_name,
            sent=False,
            retryable=True,
            retry_after=wait,
            server_output=last.server_output,
            hint=last.hint,
        )

    def succeeded(self) -> None:
        """It opened."""
        self._failures = 0
        self._trying = False
        self._last = None

    def failed(self, error: JackfieldError) -> None:
        """It did not."""
        self._failures += 1
        self._trying = False
        self._last = error
        over = self._failures - self._settings.failure_threshold
        if over >= 0:
            wait = backoff(self._settings.retry_delay, self._settings.max_retry_delay, over + 3)
            self._open_until = time.monotonic() + max(wait, error.retry_after or 0.0)

    def left(self) -> None:
        """The opening was given up before it came to anything."""
        self._trying = False
