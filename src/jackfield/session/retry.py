"""What may be tried again after an error: a call, or the opening of a session."""

from __future__ import annotations

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
