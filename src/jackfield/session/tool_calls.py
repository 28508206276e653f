"""A call of a tool from its arguments to its result: hooks, checks, counting, and events."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio

from ..errors import InvalidArgumentsError, JackfieldError, ToolError, UnknownToolError
from ..events import CallFinished, CallRetried, CallStarted
from ..masking import HiddenValues, mask
from ..transport.report import current_call
from .arguments import require_json
from .hooks import CallHook, ToolCall, call_with_hooks
from .results import ToolResult
from .rounds import send_tool_call
from .server_tools import known_tools
from .telemetry import span

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT

    from .calling import Caller
    from .deadlines import Deadline
    from .listing import ToolListing
    from .owner import SessionOwner

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
        if self._is_heard:
            owner.events.emit(CallStarted(**owner.reporter.about, tool=tool, call_number=self._number))

    def retried(self, error: JackfieldError) -> None:
        """It is made again, since it failed with this error."""
        owner = self._owner
        owner.totals.retries += 1
        owner.log.info("Call %d of %s is made again: %s", self._number, self._tool, error.code)
        owner.events.emit(CallRetried(**owner.reporter.about, tool=self._tool, call_number=self._number, error=error))

    def ended(self, failure: JackfieldError | None) -> None:
        """It has its result, or failed."""
        owner, seconds = self._owner, time.monotonic() - self._started
        owner.totals.call_times.add(seconds)
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


async def call_tool(caller: Caller, hooks: Sequence[CallHook], call: Call) -> ToolResult:
    """Make a call, with hooks around it; see `Session.call_tool`."""
    if not hooks:
        return await _call(caller, call)
    listing = await _listing_for(caller, call)
    config = caller.owner.config
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
        with span(f"call_tool {name}", server_name):
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
            caller.news.tell(generation)
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
    owner.log.warning("The result of %s is not as the protocol has it: %s", tool, problems)
    if owner.config.session.strict_output:
        raise ToolError(
            f"The result of tool {tool!r} of server {name!r} is not as the protocol has it: {problems}. "
            "The call took effect.",
            content=result.content,
            server_name=name,
            sent=True,
            state_lost=result.state_lost,
            server_output=result.text or None,
            hint="strict_output=False gives such results, with their problems.",
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
