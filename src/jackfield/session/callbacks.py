"""Callbacks for requests and notifications from servers."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import anyio

from ..errors import listed
from ..loops import in_own_task
from .user_code import in_words

if TYPE_CHECKING:
    from types import CoroutineType

    from mcp.client import ClientRequestContext
    from mcp.client.session import ElicitationFnT, ListRootsFnT, LoggingFnT, MessageHandlerFnT, SamplingFnT
    from mcp.types import ErrorData, ListRootsResult, LoggingLevel

    from ..transport.relayed import RelayedClient

_P = ParamSpec("_P")
_T = TypeVar("_T")

logger: logging.Logger = logging.getLogger("jackfield")


@dataclass(frozen=True)
class SessionCallbacks:
    """Callbacks in the SDK's shapes, given for a whole manager or for one `open_session`.

    A capability is announced to the server only if its callback is given.
    """

    sampling: SamplingFnT | None = None
    """Answers `sampling/createMessage`: the server asks this side's model."""

    elicitation: ElicitationFnT | None = None
    """Answers `elicitation/create`: the server asks the user."""

    roots: Sequence[str] | ListRootsFnT | None = None
    """`file://` URIs the server may work in, or a callback that lists them."""

    logging: LoggingFnT | None = None
    """Gets the server's log messages; see `log_level`."""

    log_level: LoggingLevel | None = None
    """The least severe level to ask for; with a `logging` callback it is `info` if omitted."""

    notification: MessageHandlerFnT | None = None
    """Gets every notification, such as `ToolListChangedNotification`."""

    relayed_client: RelayedClient | None = None
    """For gateways: the client whose capabilities the server sees, and that gets what it asks and tells as it is on the
    wire, instead of `sampling`, `elicitation` and `roots`."""

    def __post_init__(self) -> None:
        if self.roots is not None and not callable(self.roots):
            listed("roots", self.roots)


NO_CALLBACKS = SessionCallbacks()


def merged(callbacks: SessionCallbacks, below: SessionCallbacks) -> SessionCallbacks:
    """These callbacks, completed by those of `below`."""
    given = {field.name: value for field in fields(callbacks) if (value := getattr(callbacks, field.name)) is not None}
    return replace(below, **given)


def wanted_log_level(callbacks: SessionCallbacks) -> LoggingLevel | None:
    """The level to ask the server for, or `None` to ask for nothing."""
    if callbacks.relayed_client is not None:
        return cast("LoggingLevel | None", callbacks.relayed_client.log_level)
    return callbacks.log_level or ("info" if callbacks.logging else None)


def client_options(callbacks: SessionCallbacks) -> dict[str, Any]:
    """The arguments of the SDK's `Client`."""
    roots = callbacks.roots
    lists_roots = roots if roots is None or callable(roots) else _fixed_roots(list(roots))
    return {
        "sampling_callback": callbacks.sampling and answering(callbacks.sampling, "sampling"),
        "elicitation_callback": callbacks.elicitation and answering(callbacks.elicitation, "elicitation"),
        "list_roots_callback": lists_roots and answering(lists_roots, "roots"),
        "logging_callback": callbacks.logging and hearing(callbacks.logging, "logging"),
        # A relayed client's requests say themselves what they want.
        "log_level": None if callbacks.relayed_client is not None else wanted_log_level(callbacks),
    }


def answering(callback: Callable[_P, Awaitable[_T]], name: str) -> Callable[_P, Awaitable[_T | ErrorData]]:
    """The same callback, whose failure costs the server's request and nothing else."""

    async def answer(*args: _P.args, **kwargs: _P.kwargs) -> _T | ErrorData:
        from mcp import MCPError
        from mcp.types import INTERNAL_ERROR, ErrorData

        failure = _Failure(name)
        try:
            return await _awaited(lambda: callback(*args, **kwargs), name)
        except MCPError as refusal:
            return refusal.error
        except BaseException as error:
            # In the newer protocol the SDK would raise it, in a group, from the caller's own request.
            if not failure.is_contained(error):
                raise
            happened = f"failed: {in_words(error)}" if isinstance(error, Exception) else "was cancelled."
        return ErrorData(code=INTERNAL_ERROR, message=f"The client's {name} callback {happened}")

    return answer


def hearing(
    callback: Callable[_P, Awaitable[None]], name: str, *, in_place: bool = False
) -> Callable[_P, CoroutineType[Any, Any, None]]:
    """The same callback, whose failure goes no further than the log.

    Args:
        callback: The user's.
        name: What it hears, for the log.
        in_place: Whether it runs in the task that calls it: what a server tells before its answer, such as progress,
            is then heard before that.
    """

    async def hear(*args: _P.args, **kwargs: _P.kwargs) -> None:
        failure = _Failure(name)
        try:
            if in_place:
                await callback(*args, **kwargs)
            else:
                await _awaited(lambda: callback(*args, **kwargs), name)
        except BaseException as error:
            if not failure.is_contained(error):
                raise

    return hear


async def _awaited(call: Callable[[], Awaitable[_T]], name: str) -> _T:
    async def run() -> _T:
        return await call()

    def abandoned() -> None:
        logger.warning("[MCP] The %s callback is still running although it was cancelled; nothing waits for it", name)

    return await in_own_task(run, abandoned)


class _Failure:
    """Tells a callback's own failure from what really ends the task that it runs in.

    A `CancelledError` that the callback raises itself, or that a task it waited for ended with, would end the SDK's
    task group and with it the session.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._task = _current_task()
        self._cancelled = self._task.cancelling() if self._task else 0

    def is_contained(self, error: BaseException) -> bool:
        """Whether this is the callback's own affair; logs it then."""
        if isinstance(error, KeyboardInterrupt | SystemExit) or anyio.current_effective_deadline() == -math.inf:
            return False
        if self._task is not None:
            # A callback may have cancelled the very task that it ran in.
            while self._task.cancelling() > self._cancelled:
                self._task.uncancel()
        logger.error("[MCP] The %s callback failed", self._name, exc_info=error)
        return True


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # trio, where nothing but a cancellation looks like one


def _fixed_roots(uris: list[str]) -> ListRootsFnT:
    async def list_roots(context: ClientRequestContext) -> ListRootsResult:
        from mcp.types import ListRootsResult, Root

        return ListRootsResult(roots=[Root.model_validate({"uri": uri}) for uri in uris])

    return list_roots
