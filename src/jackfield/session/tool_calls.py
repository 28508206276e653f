"""A call of a tool from its arguments to its result: hooks, checks, counting and events. Where the server asks for
input first, `input_rounds` goes on.

The SDK's own `call_tool` sends `tools/list` after a result whose tool it has not listed, and fails the call where
that request fails. `send_request` does not; what the SDK does beyond it is done here by its public parts.

Source: MCP 2026-07-28, server/tools "Header Mismatch".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

import anyio
from mcp import MCPError
from mcp.types import (
    HEADER_MISMATCH,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
)
from pydantic import ConfigDict, PlainValidator, TypeAdapter

from ..errors import InvalidArgumentsError, JackfieldError, ToolError, UnknownToolError, seconds_of
from ..events import CallFinished, CallRetried, CallStarted
from ..loops import Bound, Deadline, ProgressReset
from ..masking import HiddenValues, mask
from ..transport.report import current_call
from .callbacks import hearing
from .eras import is_listed, is_modern
from .hooks import CallHook, ToolCall, call_with_hooks
from .input_rounds import Responses, after_input
from .offers import known_tools
from .results import ToolResult
from .sendable import not_an_object, not_text
from .spans import Operation
from .tools import require_json

if TYPE_CHECKING:
    from mcp import Client
    from mcp.shared.dispatcher import ProgressFnT

    from .calling import Caller
    from .owner import SessionOwner
    from .tools import ToolListing

# A listing younger than this is not fetched again to see whether a call that does not fit it now does.
_FRESH_SECONDS = 1.0


@dataclass(slots=True)
class Call:
    """What `Session.call_tool` was asked for."""

    tool: str
    arguments: dict[str, Any]
    deadline: Deadline
    progress_callback: ProgressFnT | None
    meta: Mapping[str, Any] | None
    headers: Mapping[str, str] | None = field(default=None, repr=False)


class CountedCall:
    """A call that begins now.

    Args:
        owner: The session.
        tool: Its tool.
    """

    def __init__(self, owner: SessionOwner, tool: str) -> None:
        owner.calls += 1
        owner.totals.calls += 1
        self._owner = owner
        self._tool = tool
        self._number = owner.calls
        self._started = time.monotonic()
        self._is_heard = owner.events.is_heard
        self.operation: Operation | None = None
        """Observes it for OpenTelemetry."""
        if self._is_heard:
            owner.events.emit(CallStarted(**owner.reporter.about, tool=tool, call_number=self._number))

    def retried(self, error: JackfieldError) -> None:
        """It is made again, since it failed with this error."""
        owner = self._owner
        owner.totals.retries += 1
        if self.operation is not None:
            self.operation.retried(error)
        owner.log.info("Call %d of %s is made again: %s", self._number, self._tool, error.code)
        if owner.events.is_heard:
            owner.events.emit(
                CallRetried(**owner.reporter.about, tool=self._tool, call_number=self._number, error=error)
            )

    def ended(self, failure: JackfieldError | None) -> None:
        """It has its result, or failed."""
        owner, seconds = self._owner, time.monotonic() - self._started
        times = owner.totals.call_times
        times.count += 1
        times.total += seconds
        times.longest = max(times.longest, seconds)
        if failure is not None:
            owner.errors += 1
            owner.totals.errors += 1
        if self._is_heard:
            owner.events.emit(
                CallFinished(
                    **owner.reporter.about, tool=self._tool, call_number=self._number, seconds=seconds, error=failure
                )
            )
        if owner.log.isEnabledFor(logging.DEBUG):
            end = f"failed: {failure.code}" if failure else "done"
            owner.log.debug("Call %d of %s %s in %.3f s", self._number, self._tool, end, seconds)


async def call_tool(
    caller: Caller,
    hooks: Sequence[CallHook],
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    call_timeout: Bound = None,
    progress_callback: ProgressFnT | None = None,
    meta: Mapping[str, Any] | None = None,
    reset_timeout_on_progress: bool | None = None,
    max_total_timeout: float | None = None,
) -> ToolResult:
    """Make a call in the caller's session, with hooks around it; see `Session.call_tool`."""
    config = caller.usable().config
    settings = config.session
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise not_text("The name of a tool", name, server_name=config.server_name)
    if arguments is not None and not isinstance(arguments, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise not_an_object(f"The arguments of {name!r}", arguments, server_name=config.server_name)
    if meta is not None and not isinstance(meta, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise not_an_object("The values of meta", meta, server_name=config.server_name)
    progress = progress_callback and hearing(progress_callback, "progress", in_place=True)
    deadline = Deadline.of(call_timeout, settings.call_timeout)
    if settings.reset_timeout_on_progress if reset_timeout_on_progress is None else reset_timeout_on_progress:
        given = max_total_timeout
        total = settings.max_total_timeout if given is None else seconds_of(given, "max_total_timeout")
        deadline.on_progress = ProgressReset(deadline, total)
    call = Call(name, dict(arguments) if arguments else {}, deadline, progress, dict(meta) if meta else None)
    if not hooks:
        return await _call(caller, call)
    listing = await _listing_for(caller, call)
    annotations = listing.annotations(call.tool) if listing else None
    about = ToolCall(config.server_name, caller.owner.key, call.tool, call.arguments, annotations)

    async def proceed(about: ToolCall) -> ToolResult:
        given, headers = dict(about.arguments), HiddenValues(about.headers)
        return await _call(caller, replace(call, arguments=given, headers=headers))

    return await call_with_hooks(hooks, about, proceed, call.deadline)


def _progress_callback(caller: Caller, call: Call, *, is_safe: bool) -> ProgressFnT | None:
    """What the progress of one attempt is reported to; made within that attempt."""
    reset, record = call.deadline.on_progress, current_call.get()
    if reset is None:
        return call.progress_callback
    # A call that is made once at the most is one attempt, for which there is no other time.
    attempt_timeout = caller.owner.config.session.attempt_timeout if is_safe else None

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        reset.reset()
        if attempt_timeout is not None and record is not None and record.scope is not None:
            record.scope.deadline = min(call.deadline.at, anyio.current_time() + attempt_timeout)
        if call.progress_callback is not None:
            await call.progress_callback(progress, total, message)

    return on_progress


async def _call(caller: Caller, call: Call) -> ToolResult:
    owner, name, server_name = caller.owner, call.tool, caller.owner.config.server_name
    require_json(server_name, f"tool {name!r}", {"name": name, "arguments": call.arguments, "meta": call.meta})
    listing = owner.listing or await _listing_for(caller, call)
    arguments = call.arguments
    if listing is not None:
        try:
            arguments = listing.check(name).check(arguments)
        except (UnknownToolError, InvalidArgumentsError):
            # The server may have changed the tool without saying so.
            if time.monotonic() - listing.fetched_at < _FRESH_SECONDS:
                raise
            listing = await _listing_for(caller, call, outdated=listing)
            assert listing is not None
            arguments = listing.check(name).check(arguments)
    is_safe = listing is not None and listing.is_safe_to_repeat(name)
    counted = CountedCall(owner, name)
    failure: JackfieldError | None = None
    known = caller.news.known
    try:
        with owner.observed("tools/call", name) as counted.operation:
            answer = await caller.request(
                "tools/call",
                call.deadline,
                lambda client: send_tool_call(
                    client,
                    name,
                    arguments,
                    progress_callback=_progress_callback(caller, call, is_safe=is_safe),
                    meta=call.meta,
                    max_requests=owner.config.session.max_server_requests,
                ),
                is_safe=is_safe,
                refuses=_refused(owner, name, listing),
                headers=call.headers,
                on_retry=counted.retried,
            )
            generation = owner.generation
            result = ToolResult.of(answer, server_name=server_name, tool_name=name, generation=generation)
            if generation > known:
                result.state_lost = True
                counted.operation.lost_state()
                caller.news.tell(generation)
            if result.is_error:
                counted.operation.tool_failed()
        if listing is not None and not result.is_error and (output_check := listing.output_check(name)) is not None:
            is_given = "structured_content" in result.model_fields_set
            problem = output_check.problem(result.structured_content, is_given=is_given)
            result.problems += [mask(problem)] if problem else []
        if result.problems:
            _note_problems(owner, name, result)
        if result.is_error:
            failure = result.tool_error()
        return result
    except JackfieldError as error:
        failure = error
        raise
    finally:
        counted.ended(failure)


def _note_problems(owner: SessionOwner, tool: str, result: ToolResult) -> None:
    name, problems = owner.config.server_name, "; ".join(result.problems)
    owner.log.warning("The result of %s does not conform to the protocol: %s", tool, problems)
    if owner.config.session.strict_output:
        raise ToolError(
            f"The result of tool {tool!r} of server {name!r} does not conform to the protocol: {problems}. "
            "The call took effect.",
            content=result.content,
            server_name=name,
            sent=True,
            state_lost=result.state_lost,
            server_output=result.text or None,
            hint="With strict_output=False, such results are returned, with their problems.",
        )


def _refused(owner: SessionOwner, tool: str, listing: ToolListing | None) -> str | None:
    """The tool, if it must not be called after a loss of state."""
    is_read_only = listing is not None and listing.is_read_only(tool)
    return tool if owner.config.session.on_state_lost == "refuse" and not is_read_only else None


async def _listing_for(caller: Caller, call: Call, *, outdated: ToolListing | None = None) -> ToolListing | None:
    """The listing that a call is checked by. An error of it says that the call was not made."""
    try:
        listing, answered = await known_tools(caller, call.deadline, outdated=outdated)
        if outdated is not None and answered is not None:
            raise answered
        return listing
    except JackfieldError as error:
        raise error if error.sent is False else not_made(call.tool, error) from None


def not_made(tool: str, error: JackfieldError) -> JackfieldError:
    """The error of a listing, as that of a call that could not be made for it."""
    message = f"Tool {tool!r} was not called, because the tools could not be listed: {error.message}"
    return error.told(message=message, sent=False)


class _Answer(CallToolResult):
    """A result with whatever else the server put into it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")


@cache
def _answers() -> TypeAdapter[_Answer | InputRequiredResult]:
    return TypeAdapter(_Answer | InputRequiredResult)


def read_answer(raw: dict[str, Any]) -> CallToolResult | InputRequiredResult:
    """A server's answer to a call, validated by the SDK."""
    return ToolResult.plain(raw) or _answers().validate_python(raw, by_name=False)


@cache
def _read_answers() -> TypeAdapter[CallToolResult | InputRequiredResult]:
    return TypeAdapter(Annotated[Any, PlainValidator(read_answer)])


class _PlainCall(CallToolRequest):
    """A call that is a name and arguments, which are JSON already: it needs neither validation nor conversion."""

    @classmethod
    def of(cls, name: str, arguments: Mapping[str, Any]) -> Self:
        """Make one."""
        made = cls.__new__(cls)
        object.__setattr__(made, "__dict__", {"method": "tools/call", "params": {"name": name, "arguments": arguments}})
        return made

    def model_dump(self, *_: Any, **__: Any) -> dict[str, Any]:
        """As it goes over the wire."""
        params = cast("dict[str, Any]", self.params)
        return {"method": self.method, "params": {"name": params["name"], "arguments": dict(params["arguments"])}}


async def send_tool_call(
    client: Client,
    name: str,
    arguments: Mapping[str, Any],
    *,
    progress_callback: ProgressFnT | None = None,
    meta: Mapping[str, Any] | None = None,
    max_requests: int,
) -> CallToolResult:
    """Call a tool; answer what the server asks for meanwhile through the client's callbacks.

    Args:
        client: The connection.
        name: The tool.
        arguments: Sent as they are.
        progress_callback: Awaited with `(progress, total, message)`.
        meta: Sent as `_meta` of each round.
        max_requests: How many of the server's requests are answered at the same time; the others wait.

    Raises:
        MCPError: The server answered with an error, or a callback refused.
        InputRequiredRoundsExceededError: The server asked for input more often than the client allows.
    """

    async def send(responses: Responses | None, state: str | None) -> CallToolResult | InputRequiredResult:
        if responses is None and state is None and not meta:
            request: CallToolRequest = _PlainCall.of(name, arguments)
        else:
            params = CallToolRequestParams(
                name=name,
                arguments=dict(arguments),
                input_responses=None if responses is None else dict(responses),
                request_state=state,
                _meta=dict(meta) if meta else None,  # type: ignore[arg-type]
            )
            request = CallToolRequest(params=params)
        return await client.session.send_request(request, _read_answers(), progress_callback=progress_callback)

    async def send_listed(responses: Responses | None, state: str | None) -> CallToolResult | InputRequiredResult:
        try:
            return await send(responses, state)
        except MCPError as mismatch:
            # The tool's listed schema, from which headers are made, is missing or stale; nothing was executed.
            if mismatch.code != HEADER_MISMATCH or not is_modern(client):
                raise
            if not await is_listed(client, name):
                raise
            return await send(responses, state)

    answer = await send_listed(None, None)
    if isinstance(answer, InputRequiredResult):
        return await after_input(client, answer, send_listed, max_requests)
    return answer
