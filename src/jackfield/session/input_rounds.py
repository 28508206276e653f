"""The rounds of a call in which the server asks for input before it answers.

Source: MCP 2026-07-28, basic/patterns "Multi Round-Trip Requests" (SEP-2322).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import anyio
from mcp import MCPError
from mcp.client import ClientRequestContext, InputRequiredRoundsExceededError
from mcp.types import CallToolResult, ErrorData, InputRequest, InputRequiredResult, InputResponse

if TYPE_CHECKING:
    from mcp import Client

# A server that wants to be asked again without any input is asked this soon, and half as often each time.
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 0.25

Responses = Mapping[str, InputResponse]


async def after_input(
    client: Client,
    answer: InputRequiredResult,
    send: Callable[[Responses | None, str | None], Awaitable[CallToolResult | InputRequiredResult]],
    max_requests: int,
) -> CallToolResult:
    """The result of a call whose server asks for input: its questions go to the client's callbacks.

    Args:
        client: The connection.
        answer: The first, which asks.
        send: Makes the request again with the responses and the state of the server.
        max_requests: How many of the server's questions are answered at the same time; the others wait.

    Raises:
        MCPError: The server answered with an error, or a callback refused.
        InputRequiredRoundsExceededError: The server asked for input more often than the client allows.
    """
    rounds, wait = 0, _FIRST_WAIT_SECONDS
    while True:
        rounds += 1
        if rounds > client.input_required_max_rounds:
            raise InputRequiredRoundsExceededError(client.input_required_max_rounds)
        responses: Responses | None = None
        if answer.input_requests:
            responses, wait = await _responses(client, answer.input_requests, max_requests), _FIRST_WAIT_SECONDS
        else:
            await anyio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
        result = await send(responses, answer.request_state)
        if isinstance(result, CallToolResult):
            return result
        answer = result


async def _responses(client: Client, requests: Mapping[str, InputRequest], at_once: int) -> Responses:
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
