"""Changes on a server, as an iteration: a stream of the newer protocol, or notifications of the older one."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from mcp import MCPError
from mcp.client.subscriptions import ServerEvent, SubscriptionLost
from mcp.shared.subscriptions import event_from_wire
from mcp.types import (
    EmptyResult,
    ServerNotification,
    SubscribeRequest,
    SubscribeRequestParams,
    UnsubscribeRequest,
    UnsubscribeRequestParams,
)

from ..errors import JackfieldError
from ..transport.report import CallRecord, current_call
from .calling import Caller
from .eras import is_modern

if TYPE_CHECKING:
    from mcp import Client

_LISTEN = "subscriptions/listen"


@asynccontextmanager
async def changes(
    caller: Caller,
    client: Client,
    *,
    tools_list_changed: bool,
    prompts_list_changed: bool,
    resources_list_changed: bool,
    resource_subscriptions: Sequence[str],
) -> AsyncGenerator[AsyncIterator[ServerEvent]]:
    """Iterate over changes on a server, in either protocol era; see `Session.listen`."""
    if is_modern(client):
        stream = client.listen(
            tools_list_changed=tools_list_changed,
            prompts_list_changed=prompts_list_changed,
            resources_list_changed=resources_list_changed,
            resource_subscriptions=resource_subscriptions,
        )
        async with _streamed(caller, client, stream) as subscription:
            yield subscription
        return
    wanted = {
        "notifications/tools/list_changed": tools_list_changed,
        "notifications/prompts/list_changed": prompts_list_changed,
        "notifications/resources/list_changed": resources_list_changed,
        "notifications/resources/updated": bool(resource_subscriptions),
    }
    methods = {method for method, is_wanted in wanted.items() if is_wanted}
    async with _notified(caller, methods, resource_subscriptions) as changed:
        yield changed


@asynccontextmanager
async def _streamed(
    caller: Caller, client: Client, stream: AbstractAsyncContextManager[AsyncIterator[ServerEvent]]
) -> AsyncGenerator[AsyncIterator[ServerEvent]]:
    """The SDK's stream, which must begin within the server's `call_timeout`, with errors of ours until it has."""
    owner, deadline, changed = caller.usable(), caller.deadline(None), None
    connection = owner.connection
    if connection is None or connection.client is not client:
        raise owner.ended(sent=False)
    record = CallRecord(_LISTEN, owner.generation)
    async with AsyncExitStack() as stack:
        # No scope is open while the caller iterates: streams need not be left in the order in which they were begun.
        with anyio.CancelScope(deadline=deadline.at) as record.scope:
            token = current_call.set(record)
            try:
                changed = await stack.enter_async_context(stream)
            except MCPError as error:
                raise await caller.failure(_LISTEN, error, record.latest, connection) from None
            except TimeoutError:
                raise caller.timed_out(_LISTEN, deadline, record) from None
            finally:
                current_call.reset(token)
        if changed is None:
            raise record.latest.failure or caller.timed_out(_LISTEN, deadline, record)
        yield changed


@asynccontextmanager
async def _notified(
    caller: Caller, methods: Collection[str], resources: Sequence[str]
) -> AsyncGenerator[AsyncIterator[ServerEvent]]:
    """Iterate over what the server tells, from now on.

    Args:
        caller: Of the session.
        methods: Which notifications.
        resources: URIs to subscribe to meanwhile.

    Source: MCP 2025-11-25, server/resources "Subscriptions".
    """
    owner = caller.owner
    send, receive = anyio.create_memory_object_stream[ServerEvent](math.inf)

    def deliver(message: Any) -> None:
        if message is None:
            send.close()
        elif isinstance(message, ServerNotification) and message.method in methods:
            params = message.params.model_dump(by_alias=True, mode="json") if message.params else {}
            if (event := event_from_wire(message.method, params)) is not None:
                send.send_nowait(event)

    async def told() -> AsyncGenerator[ServerEvent]:
        async for event in receive:
            yield event
        raise SubscriptionLost("The session ended; open it again, listen again and fetch what changed.")

    owner.listeners.append(deliver)
    subscribed: list[str] = []
    try:
        for uri in resources:
            await _ask(caller, SubscribeRequest(params=SubscribeRequestParams(uri=uri)))
            subscribed.append(uri)
        yield told()
    finally:
        owner.listeners.remove(deliver)
        send.close()
        receive.close()
        if owner.state == "open" and not caller.is_released:
            with anyio.move_on_after(owner.config.session.close_timeout, shield=True):
                for uri in subscribed:
                    try:
                        await _ask(caller, UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri)))
                    except JackfieldError as error:
                        # The iteration is over, and a failure of its block must not give way to this one.
                        owner.log.debug("Not unsubscribed from %s: %s", uri, error.code)


async def _ask(caller: Caller, request: SubscribeRequest | UnsubscribeRequest) -> None:
    await caller.request(request.method, None, lambda client: client.session.send_request(request, EmptyResult))
