"""What may be tried again after an error: a call, or the opening of a session."""

from __future__ import annotations

from ..config.settings import SessionConfig
from ..errors import (
    AuthenticationError,
    ConfigError,
    JackfieldError,
    RequestError,
    ServerLimitError,
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
    """Seconds to wait before a session is opened once more; `None`: not until somebody asks for it.

    Args:
        settings: Of the server.
        error: How the last attempt failed, or how the session was lost.
        failures: Openings in a row that failed, or were lost again before anything was answered.
        was_open: Whether the session has been open, now or earlier. If not, it is only tried again where the server
            itself asks for that.
        is_lost: Whether the last attempt succeeded, and the session was lost after that.
        is_asked_for: Whether the user asked for a new connection, which is opened even with `retry_attempts=0`.
    """
    if not was_open and not says_later(error, settings.timeout):
        return None
    if is_lost and failures <= 1 and (settings.retry_attempts or is_asked_for):
        return 0.0
    is_soon = (error.retry_after or 0.0) <= settings.max_retry_delay
    if may_open_again(error) and failures < settings.retry_attempts and is_soon:
        return settings.wait_before(failures + 1, error.retry_after)
    return None
