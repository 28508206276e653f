"""What can go wrong between an instance and its store."""

from __future__ import annotations

from typing import ClassVar

from ..errors import JackfieldError


class StoreUnavailableError(JackfieldError):
    """The store cannot be reached, or cannot do its work now; the operation may succeed later."""

    code: ClassVar[str] = "store_unavailable"


class StoredDataError(JackfieldError):
    """The store has foreign data under one of our keys."""

    code: ClassVar[str] = "stored_data"


class ServingLimitError(JackfieldError):
    """A limit of the server is reached.

    Args:
        message: The refused operation, in one line.
        bound: The name of the setting in `ServingLimits`.
        maximum: Its value.
        retry_after: Seconds after which it may succeed.
    """

    code: ClassVar[str] = "serving_limit"

    def __init__(self, message: str, *, bound: str, maximum: int, retry_after: int = 1) -> None:
        super().__init__(f"{message} (`{bound}` is {maximum}).", sent=False, retryable=True, retry_after=retry_after)
        self.bound: str = bound
        self.maximum: int = maximum


class RequestRunsError(JackfieldError):
    """A request with this id is already running in the session; it was not started again."""

    code: ClassVar[str] = "request_runs"


class UnknownEventError(JackfieldError):
    """The log of a stream does not have the event to resume after: it never had it, or keeps it no more."""

    code: ClassVar[str] = "unknown_event"
