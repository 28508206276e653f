"""`relay`: one request that only passes through, as it is on the wire, with the rules of all requests of a session.

Neither its parameters nor its answer are made models of. What a gateway sends for its clients goes this way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import anyio
from mcp import MCPError
from mcp.types import HEADER_MISMATCH, PROTOCOL_VERSION_META_KEY, ClientRequest
from pydantic import TypeAdapter

from ..errors import JackfieldError, ToolError
from ..loops import Bound, Deadline, ProgressReset
from ..plain import as_table
from ..transport.relayed import ENVELOPE_KEYS, RelayedRequest
from ..transport.report import CallRecord, current_call
from .callbacks import hearing
from .eras import is_listed, is_modern
from .tool_calls import CountedCall
from .tools import require_json

if TYPE_CHECKING:
    from mcp import Client

    from ..transport.direct import DirectRequests
    from .calling import Caller
    from .owner import SessionOwner

OnRetry = Callable[[JackfieldError], None]

OnProgress = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Awaited with the parameters of each progress notification, without its token."""

ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)

_MAX_PROGRESS = 1000
"""So much progress waits to be told; then the oldest is dropped."""

_LATE_SECONDS = 5.0
"""How long an answer waits, once there is one, for progress to be told."""


class Relayed(NamedTuple):
    """The answer to a request."""

    result: dict[str, Any]
    """As it came."""
    state_lost: bool
    """Whether it is the first that the user of the session hears after state behind it was lost."""


async def relay(
    caller: Caller,
    method: str,
    params: Mapping[str, Any] | None,
    *,
    deadline: Bound = None,
    on_progress: OnProgress | None = None,
    is_safe: bool = False,
    refuses: str | None = None,
    about: object = None,
    headers: Mapping[str, str] | None = None,
) -> Relayed:
    """Make a request whose parameters and result pass as they are.

    A client that is named in its `_meta`, as in the protocol of 2026-07-28, is named to the server, too.

    Args:
        caller: Of the session.
        method: Its name.
        params: As they go over the wire.
        deadline: For the whole request; the server's `call_timeout` if omitted.
        on_progress: Told what the server reports, in order, and all of it before this returns.
        is_safe: Whether it may be repeated although it may have been executed.
        refuses: The called tool, if the call must not be made on a session whose state was lost.
        about: Given to the session's relayed client with what the server asks and tells on the request's own stream,
            where it has one, as over HTTP.
        headers: Sent with it over HTTP.

    Returns:
        The result, which may be one that asks for input, and news of lost state.

    Raises:
        RequestError: The server answered with an error: `rpc_code`, `rpc_message` and `rpc_data` are its own.
        JackfieldError: As `Session.call_tool` raises them.
    """
    owner = caller.usable()
    require_json(owner.config.server_name, method, params or {})
    within, settings = caller.deadline(deadline), owner.config.session
    if within.on_progress is None and settings.reset_timeout_on_progress:
        within.on_progress = ProgressReset(within, settings.max_total_timeout)
    progress = _Progress(within, on_progress, settings.attempt_timeout)

    async def make(on_retry: OnRetry | None) -> dict[str, Any]:
        return await progress.told_during(
            lambda: caller.request(
                method,
                within,
                lambda client: _sent(owner, client, method, params or {}, progress, about, is_safe=is_safe),
                is_safe=is_safe,
                refuses=refuses,
                headers=headers,
                on_retry=on_retry,
                target=_prompt(method, params),
            )
        )

    if method != "tools/call":
        return Relayed(await make(None), False)
    return await _counted(caller, str((params or {}).get("name")), make)


def _prompt(method: str, params: Mapping[str, Any] | None) -> str | None:
    return str((params or {}).get("name")) if method == "prompts/get" else None


async def _counted(caller: Caller, tool: str, make: Callable[[OnRetry], Awaitable[dict[str, Any]]]) -> Relayed:
    """Make a call of a tool, which counts as one whoever makes it."""
    owner, known = caller.owner, caller.news.known
    counted, server_name = CountedCall(owner, tool), owner.config.server_name
    failure: JackfieldError | None = None
    try:
        with owner.observed("tools/call", tool) as counted.operation:
            result = await make(counted.retried)
            is_news = owner.generation > known
            if is_news:
                counted.operation.lost_state()
                caller.news.tell(owner.generation)
            if result.get("isError") is True:
                counted.operation.tool_failed()
                words = f"Tool {tool!r} of server {server_name!r} reported an error."
                failure = ToolError(words, server_name=server_name, sent=True)
        return Relayed(result, is_news)
    except JackfieldError as error:
        failure = error
        raise
    finally:
        counted.ended(failure)


async def _sent(
    owner: SessionOwner,
    client: Client,
    method: str,
    params: Mapping[str, Any],
    progress: _Progress,
    about: object,
    *,
    is_safe: bool,
) -> dict[str, Any]:
    record = current_call.get()
    assert record is not None, "a request is made by a caller"
    meta = dict(as_table(params.get("_meta")))
    for key in (PROTOCOL_VERSION_META_KEY, "progressToken"):
        meta.pop(key, None)
    envelope = {key: meta.pop(key) for key in ENVELOPE_KEYS if key in meta}
    sent = {**{key: value for key, value in params.items() if key != "_meta"}, **({"_meta": meta} if meta else {})}
    relayed = record.relayed = RelayedRequest(
        about, envelope if is_modern(client) else {}, progress.noted_for(record, is_safe=is_safe)
    )
    if (direct := _direct(owner, client, method)) is not None:
        await direct.send(method, sent, client.protocol_version)
        assert relayed.answer is not None, "the transport keeps what it hands on"
        return relayed.answer
    # No more is asked of it than these two things.
    kind = _TaskRequest if method.startswith("tasks/") and isinstance(sent.get("taskId"), str) else RawRequest
    request = cast("ClientRequest", kind(method, sent))
    try:
        await client.session.send_request(request, ANYTHING)
    except MCPError as mismatch:
        name = sent.get("name")
        if mismatch.code != HEADER_MISMATCH or method != "tools/call" or not is_modern(client):
            raise
        if not isinstance(name, str) or not await is_listed(client, name):
            raise
        await client.session.send_request(request, ANYTHING)
    assert relayed.answer is not None, "the transport keeps what it hands on"
    return relayed.answer


def _direct(owner: SessionOwner, client: Client, method: str) -> DirectRequests | None:
    """What makes the request beneath the SDK, unless it needs headers that the SDK finds out, or a span."""
    connection = owner.connection
    if connection is None or connection.client is not client or is_modern(client) or method.startswith("tasks/"):
        return None
    direct_requests = connection.report.direct_requests
    assert direct_requests is not None, "it is open"
    direct = direct_requests()
    return None if direct.is_traced else direct


class _Progress:
    """Progress of one request, told in order and before its answer.

    Args:
        deadline: Of the request, which progress may extend.
        tell: Told; `None` if nobody wants it.
        attempt_timeout: Starts again with each report, as the deadline does.
    """

    def __init__(self, deadline: Deadline, tell: OnProgress | None, attempt_timeout: float | None) -> None:
        self._deadline = deadline
        self._attempt_timeout = attempt_timeout
        self._tell = tell and hearing(tell, "progress", in_place=True)
        self._waiting: deque[Mapping[str, Any]] = deque(maxlen=_MAX_PROGRESS)
        self._changed: anyio.Event | None = None
        self._is_over = False

    def noted_for(self, record: CallRecord, *, is_safe: bool) -> Callable[[Mapping[str, Any]], None] | None:
        """What the transport calls for one attempt; `None` if the server is not to report."""
        reset = self._deadline.on_progress
        if reset is None and self._tell is None:
            return None
        attempt_timeout = self._attempt_timeout if is_safe else None

        def note(params: Mapping[str, Any]) -> None:
            if reset is not None:
                reset.reset()
                if attempt_timeout is not None and record.scope is not None:
                    record.scope.deadline = min(self._deadline.at, anyio.current_time() + attempt_timeout)
            self._waiting.append(params)
            self._set_changed()

        return note

    async def told_during(self, request: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Make the request, and tell what is noted meanwhile."""
        if self._tell is None:
            return await request()
        result: dict[str, Any] = {}
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell_all, self._tell)
            try:
                result = await request()
            except Exception as error:
                failure = error
            self._is_over = True
            self._set_changed()
            tasks.cancel_scope.deadline = anyio.current_time() + _LATE_SECONDS
        if failure is not None:
            raise failure
        return result

    def _set_changed(self) -> None:
        if self._changed is not None:
            self._changed.set()

    async def _tell_all(self, tell: OnProgress) -> None:
        while True:
            while self._waiting:
                await tell(self._waiting.popleft())
            if self._is_over:
                return
            self._changed = anyio.Event()
            await self._changed.wait()


class RawRequest:
    """What the SDK asks of a request."""

    name_param: ClassVar[str | None] = None
    """The parameter that goes into the `Mcp-Name` header, where the SDK does not know it by the method."""

    def __init__(self, method: str, params: dict[str, Any]) -> None:
        self._method = method
        self._params = params

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """As it goes over the wire; the SDK adds to it."""
        params = dict(self._params)
        if "_meta" in params:
            params["_meta"] = dict(params["_meta"])
        return {"method": self._method, "params": params}


class _TaskRequest(RawRequest):
    """A request about one task.

    Source: MCP tasks extension (SEP-2663), "Streamable HTTP: Routing Headers".
    """

    name_param: ClassVar[str | None] = "taskId"
