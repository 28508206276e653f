"""Runs a request for another instance, which took it from its client and gets what it sends, and its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import RequestId
from starlette.requests import Request

from .context import RequestContext
from .instance import Instance
from .records import RECORD_SCOPE, SessionRecord
from .sdk_seams import close_runner


class Outlet:
    """The way back to the client of a request, through the instance that it was posted to.

    Args:
        put: Has a message sent on the request's stream.
    """

    def __init__(self, put: Callable[[str], Awaitable[None]]) -> None:
        self.put: Callable[[str], Awaitable[None]] = put
        self.cancelled: anyio.Event = anyio.Event()


async def run_handed_over(
    instance: Instance,
    request: Request,
    record: SessionRecord,
    method: str,
    params: Mapping[str, Any] | None,
    request_id: RequestId,
    outlet: Outlet,
) -> Mapping[str, Any]:
    """The result of a request. Cancel this to cancel it.

    Args:
        instance: Runs it.
        request: The HTTP request as it would have come here.
        record: Of its session, as the other instance read it; without an id if the protocol version has no sessions.
        method: Of the request.
        params: Of the request.
        request_id: The client's.
        outlet: The way back.

    Raises:
        MCPError: The request failed with it.
    """
    request.scope[RECORD_SCOPE] = record
    context = RequestContext(
        record,
        TransportContext(kind="streamable-http", can_send_request=bool(record.session_id), headers=request.headers),
        ServerMessageMetadata(request_context=request),
        requests=instance.asked if record.session_id else None,
        exchange=outlet,
        request_id=request_id,
        progress_token=progress_token_from_params(params),
    )
    if record.session_id:
        runner, connection = instance.runner(record)
    else:
        runner, connection = instance.modern_runner(record.protocol_version, params or {})
    try:
        return await runner.on_request(context, method, params)
    finally:
        context.is_closed = True
        await close_runner(runner, connection)
