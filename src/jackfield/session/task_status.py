"""`task_statuses`: what a server of 2026-07-28 tells of one task, as it is on the wire.

Source: MCP tasks extension (SEP-2663), "Task Status Notifications".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import anyio
from mcp import MCPError
from mcp.client.subscriptions import SubscriptionLost
from mcp.types import INVALID_PARAMS, ClientRequest

from ..plain import as_list, as_table
from ..transport.relayed import RelayedRequest
from ..transport.report import CallRecord, current_call
from .calling import Caller
from .eras import is_modern
from .relay import ANYTHING, RawRequest

_METHOD = "subscriptions/listen"


class TaskNotToldError(MCPError):
    """The server tells nothing of a task: it does not know it, or has no such stream."""


async def task_statuses(
    caller: Caller,
    task_id: str,
    envelope: Mapping[str, Any],
    *,
    began: Callable[[], None],
    updated: Callable[[Mapping[str, Any]], None],
) -> None:
    """Listen for the status of a task, until the stream ends or is lost.

    Args:
        caller: Of the session.
        task_id: As the server has it.
        envelope: What the request's `_meta` says of the client that wants to know.
        began: Called once the server has agreed.
        updated: Called with the parameters of each `notifications/tasks`.

    Raises:
        TaskNotToldError: The server does not agree.
        MCPError: The server answered with an error, or the connection ended.
        SubscriptionLost: The stream was lost, or did not begin within `call_timeout`.
    """
    owner = caller.usable()
    connection = owner.connection or await owner.ready()
    agreed: list[bool] = []
    not_told = TaskNotToldError(INVALID_PARAMS, f"Server {owner.config.server_name!r} does not report on this task.")
    if not is_modern(connection.client):
        raise not_told

    def told(method: str, params: Mapping[str, Any]) -> None:
        if method == "notifications/subscriptions/acknowledged":
            agreed.append(task_id in as_list(as_table(params.get("notifications")).get("taskIds")))
            if not agreed[0]:
                scope.cancel()
                return
            scope.deadline = math.inf
            began()
        elif method == "notifications/tasks" and params.get("taskId") == task_id:
            updated(params)

    request = cast("ClientRequest", RawRequest(_METHOD, {"notifications": {"taskIds": [task_id]}}))
    record = CallRecord(_METHOD, relayed=RelayedRequest(envelope=envelope, on_told=told))
    timeout = owner.config.session.call_timeout
    with anyio.CancelScope(deadline=anyio.current_time() + (math.inf if timeout is None else timeout)) as scope:
        record.scope = scope
        token = current_call.set(record)
        try:
            await connection.client.session.send_request(request, ANYTHING)
        finally:
            current_call.reset(token)
    if scope.cancelled_caught and agreed != [False]:
        raise SubscriptionLost("The notification stream of a task was lost, or was not opened in time.")
    if agreed != [True]:
        raise not_told
