"""One `tools/call` from the request to its result, with the rounds in which a server asks for input first.

The SDK's own `call_tool` sends `tools/list` after a result whose tool it has not listed, and fails the call where
that request fails. `send_request` does not; what the SDK does beyond it is done here by its public parts.

Source: MCP 2026-07-28, basic/patterns "Multi Round-Trip Requests" (SEP-2322); server/tools "Header Mismatch".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

import anyio
from mcp import MCPError
from mcp.client import ClientRequestContext, InputRequiredRoundsExceededError
from mcp.types import (
    HEADER_MISMATCH,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ErrorData,
    InputRequest,
    InputRequiredResult,
    InputResponse,
)
from pydantic import ConfigDict, PlainValidator, TypeAdapter, ValidationError

from .eras import is_modern
from .results import ToolResult

if TYPE_CHECKING:
    from mcp import Client
    from mcp.shared.dispatcher import ProgressFnT

# A server that wants to be asked again without any input is asked this soon, and half as often each time.
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 0.25

# Of a listing that is fetched within a call.
_MAX_PAGES = 100


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
    """A call that is a name and arguments, which are JSON already: nothing of it needs to be validated, or made so."""

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

    async def send(
        responses: Mapping[str, InputResponse] | None, state: str | None
    ) -> CallToolResult | InputRequiredResult:
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

    rounds, wait = 0, _FIRST_WAIT_SECONDS
    responses: Mapping[str, InputResponse] | None = None
    state: str | None = None
    while True:
        try:
            answer = await send(responses, state)
        except MCPError as mismatch:
            # The tool's listed schema, from which headers are made, is missing or stale; nothing was executed.
            if mismatch.code != HEADER_MISMATCH or not is_modern(client):
                raise
            if not await is_listed(client, name):
                raise
            answer = await send(responses, state)
        if isinstance(answer, CallToolResult):
            return answer
        rounds += 1
        if rounds > client.input_required_max_rounds:
            raise InputRequiredRoundsExceededError(client.input_required_max_rounds)
        state = answer.request_state
        if answer.input_requests:
            responses, wait = await _responses(client, answer.input_requests, max_requests), _FIRST_WAIT_SECONDS
        else:
            await anyio.sleep(wait)
            responses, wait = None, min(wait * 2, _LONGEST_WAIT_SECONDS)


async def _responses(client: Client, requests: Mapping[str, InputRequest], at_once: int) -> Mapping[str, InputResponse]:
    """The answers of the callbacks, called concurrently up to the limit; the first refusal ends it."""
    responses: dict[str, InputResponse] = {}
    refused: list[ErrorData] = []
    limit = anyio.CapacityLimiter(at_once)

    async def ask(key: str, request: InputRequest) -> None:
        context = ClientRequestContext(
            session=client.session, request_id=key, meta=request.params.meta if request.params else None
        )
        async with limit:
            response = await client.session.dispatch_input_request(context, request)
        if isinstance(response, ErrorData):
            refused.append(response)
            tasks.cancel_scope.cancel()
        else:
            responses[key] = response

    async with anyio.create_task_group() as tasks:
        for key, request in requests.items():
            tasks.start_soon(ask, key, request)
    if refused:
        raise MCPError.from_error_data(refused[0])
    return responses


async def is_listed(client: Client, name: str) -> bool:
    """List until the SDK has seen the tool's schema."""
    try:
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            if any(tool.name == name for tool in page.tools):
                return True
            cursor = page.next_cursor
            if not cursor:
                break
    except (MCPError, ValidationError):
        pass
    return False
