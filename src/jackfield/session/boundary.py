"""Converts unexpected exceptions at boundaries whose callers expect only `JackfieldError`s."""

from __future__ import annotations

import asyncio
from typing import cast

import anyio

from ..errors import JackfieldError, one_line
from ..loops import current_task

NOT_SENT = "Nothing was sent."
_WORDS_CHARS = 250


def ends_caller(error: BaseException) -> bool:
    """Whether an exception ends the caller as well: its own cancellation, `KeyboardInterrupt`, `SystemExit`."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(ends_caller, cast("BaseExceptionGroup[BaseException]", error).exceptions))
    if isinstance(error, asyncio.CancelledError):
        # A task that was waited for may have been cancelled, and not the caller.
        task = current_task()
        return isinstance(task, asyncio.Task) and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | anyio.get_cancelled_exc_class())


def in_words(error: BaseException) -> str:
    """An exception in one line, such as `PermissionError: no`; works even if its `__str__` fails."""
    try:
        words = one_line(error.message if isinstance(error, JackfieldError) else str(error), _WORDS_CHARS)
    except Exception:
        words = ""
    kind = type(error).__name__
    return f"{kind}: {words}" if words else kind


def as_error(error: BaseException, what: str, *, server_name: str | None = None) -> JackfieldError:
    """The error for a caller in place of any exception; the exception itself if it is a `JackfieldError`.

    Args:
        error: What was raised.
        what: What failed, such as `The call of 'add'`.
        server_name: The server, where there is one.

    Raises:
        BaseException: The exception itself, if it ends the caller as well.
    """
    if ends_caller(error):
        raise error
    if isinstance(error, JackfieldError):
        return error
    failed = JackfieldError(
        f"{what} failed: {in_words(error).rstrip(' .')}. The server may have been sent the call.",
        server_name=server_name,
        hint="This is not an error that the server reported. Look at its cause in the log, or go on without the tool.",
    )
    failed.__cause__ = error
    return failed
