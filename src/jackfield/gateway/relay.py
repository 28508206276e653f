"""`Relay`: the middleware of the gateway's server. It takes every message of every client, and passes it on as it is.

A server behind the gateway is opened by the first request for it, in a session of the client that asks. Only what
is about the client's own connection (the handshake, `ping`, the stream of `subscriptions/listen`) is the SDK's.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND
from mcp.types import methods as _methods

from ..adapters.model_schema import server_arguments
from ..errors import JackfieldError, RequestError
from ..plain import as_list, as_table
from ..session.deadlines import Deadline
from ..session.relay import OnProgress, relay
from ..session.results import state_note
from ..session.session import caller_of
from .calls import Answer, Guard, RelayedCall, Target
from .clients import KEEP, Client, Clients
from .eras import is_modern, named_params, passed_result
from .listing import Listings
from .messages import Context, server_notification
from .own_tools import OwnTools

_OF_THE_SDK = {"initialize", "server/discover", "ping", "subscriptions/listen"}


class Relay:
    """The middleware.

    Args:
        clients: Who asks.
        listings: What the servers offer.
        stamp: Describes the gateway in results.
        own_tools: The tools that find all others, if these are not offered themselves.
        guard: Asked for each call of a tool.
    """

    def __init__(
        self,
        clients: Clients,
        listings: Listings,
        stamp: Mapping[str, Any],
        *,
        own_tools: OwnTools | None,
        guard: Guard | None,
    ) -> None:
        self._clients = clients
        self._listings = listings
        self._stamp = stamp
        self._own_tools = own_tools
        self._guard = guard
        self._methods: dict[str, Callable[[Context, dict[str, Any]], Awaitable[Answer]]] = {
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
        }

    async def __call__(self, context: Context, call_next: CallNext) -> HandlerResult:
        """Answer a request, or take a notification."""
        method = context.method
        if context.request_id is None:
            return await call_next(context)
        if method in _OF_THE_SDK:
            return await self._of_the_sdk(context, call_next)
        version = context.protocol_version
        if method in _methods.SPEC_CLIENT_METHODS and (method, version) not in _methods.CLIENT_REQUESTS:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        if not is_modern(version) and context.session.client_params is None:
            raise MCPError(INVALID_PARAMS, "The session is not initialized: send `initialize` first.")
        answer = self._methods.get(method)
        if answer is None:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        return passed_result(method, await answer(context, dict(context.params or {})), version, self._stamp)

    async def _of_the_sdk(self, context: Context, call_next: CallNext) -> HandlerResult:
        result = await call_next(context)
        if context.method in ("initialize", "server/discover") and isinstance(result, dict):
            result["capabilities"] = {"tools": {"listChanged": self._own_tools is None}}
            if self._own_tools is not None:
                result["instructions"] = self._own_tools.instructions
        return result

    # Tools

    async def _list_tools(self, context: Context, params: dict[str, Any]) -> Answer:
        if not is_modern(context.protocol_version) or context.request is None:
            self._clients.of_session(context)
        if self._own_tools is not None:
            return {"tools": self._own_tools.listed(context)}
        return {"tools": await self._listings.tools()}

    async def _call_tool(self, context: Context, params: dict[str, Any]) -> Answer:
        name = _text(params, "name")
        arguments = params.get("arguments")
        arguments = dict(cast("Mapping[str, Any]", arguments)) if isinstance(arguments, Mapping) else {}
        handle = self._own_tools.handle(context, name, arguments) if self._own_tools is not None else None
        try:
            async with self._clients.client(context, handle) as (client, kept):
                if self._own_tools is None:
                    target = await self._listings.tool(name)
                    # The listing shows some names of arguments as model APIs take them.
                    given = server_arguments(target.raw.get("inputSchema") or {}, arguments)
                    params = {**params, "name": target.name, "arguments": given}
                    result = await self._relayed_call(context, client, target, params)
                elif name == "call_tool":
                    target, given, notes = await self._own_tools.route(client, arguments)
                    params = {**params, "name": target.name, "arguments": given}
                    result = noted(await self._relayed_call(context, client, target, params), *notes)
                else:
                    result = await self._own_tools.call(client, name, arguments)
        except RequestError as error:
            if error.rpc_message is not None:
                raise MCPError(error.rpc_code or INTERNAL_ERROR, error.rpc_message, error.rpc_data) from None
            raise MCPError(error.rpc_code or INTERNAL_ERROR, error.headline) from None
        except JackfieldError as error:
            return {"content": [{"type": "text", "text": str(error)}], "isError": True}
        if kept is not None and handle == KEEP:
            result = noted(result, f'(To go on with this state, give session="{kept}".)')
        return result

    async def _relayed_call(self, context: Context, client: Client, target: Target, params: dict[str, Any]) -> Answer:
        call = RelayedCall(context, client, "tools/call", target, params)
        if self._guard is None:
            return await self._relayed(call)
        return await self._guard.call(call, lambda: self._relayed(call))

    async def _relayed(self, call: RelayedCall) -> Answer:
        """Pass a request on in the client's session with the server."""
        config, client, context = call.target.config, call.client, call.context
        deadline = Deadline.of(None, config.session.call_timeout)
        hints = as_table(call.target.raw.get("annotations"))
        is_read_only = hints.get("readOnlyHint") is True
        is_safe = call.method != "tools/call" or is_read_only or hints.get("idempotentHint") is True
        refuses = config.session.on_state_lost == "refuse" and not is_read_only
        async with self._clients.upstream(client, config, deadline) as session:
            with client.requesting(config.server_name, context):
                answer = await relay(
                    caller_of(session),
                    call.method,
                    named_params(call.params, client.info, client.capabilities),
                    deadline=deadline,
                    on_progress=_progress_of(context),
                    is_safe=is_safe,
                    refuses=call.target.name if refuses and call.method == "tools/call" else None,
                )
        return _with_state_note(answer.result, config.server_name) if answer.state_lost else answer.result


def _progress_of(context: Context) -> OnProgress | None:
    """Tells the client of the progress of its request, if it asked for that."""
    token = as_table((context.params or {}).get("_meta")).get("progressToken")
    if token is None:
        return None

    async def report(params: Mapping[str, Any]) -> None:
        notification = server_notification("notifications/progress", {**params, "progressToken": token})
        await context.session.send_notification(notification, context.request_id)

    return report


def _with_state_note(result: Answer, server_name: str) -> Answer:
    """The first result after a loss, which says so to the model."""
    note = {"type": "text", "text": state_note(server_name)}
    words = as_list(result.get("content"))
    if not words and "structuredContent" in result:
        # A model that is shown the content would otherwise see no more than the note.
        words = [{"type": "text", "text": json.dumps(result["structuredContent"], ensure_ascii=False)}]
    return {**result, "content": [note, *words]}


def _text(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str):
        raise MCPError(INVALID_PARAMS, f"`{name}` is missing, or is not text.")
    return value


def noted(result: Answer, *notes: str) -> Answer:
    """The result of a call, with words of the gateway's own after the server's."""
    if not notes:
        return result
    content = [*result.get("content", []), *({"type": "text", "text": note} for note in notes)]
    return {**result, "content": content}
