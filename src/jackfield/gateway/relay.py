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
from .asking import with_input
from .calls import Guard, RelayedCall, Target
from .client import Client
from .clients import KEEP, Clients
from .eras import is_modern, named_params, passed_result
from .listing import Listings
from .messages import Answer, Context, server_notification
from .notices import LEVELS
from .own_tools import OwnTools
from .parked import ParkedCalls, invalid_state
from .to_servers import ask_for_log, set_level, tell_roots_changed
from .under_way import UnderWay

_OF_THE_SDK = {"initialize", "server/discover", "ping", "subscriptions/listen"}


class Relay:
    """The middleware.

    Args:
        clients: Who asks.
        listings: What the servers offer.
        stamp: Describes the gateway in results.
        parked: Calls that wait for their clients.
        own_tools: The tools that find all others, if these are not offered themselves.
        guard: Asked for each call of a tool.
    """

    def __init__(
        self,
        clients: Clients,
        listings: Listings,
        stamp: Mapping[str, Any],
        parked: ParkedCalls,
        *,
        own_tools: OwnTools | None,
        guard: Guard | None,
    ) -> None:
        self._clients = clients
        self._listings = listings
        self._stamp = stamp
        self._parked = parked
        self._own_tools = own_tools
        self._guard = guard
        self._methods: dict[str, Callable[[Context, dict[str, Any]], Awaitable[Answer]]] = {
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
        }

    async def __call__(self, context: Context, call_next: CallNext) -> HandlerResult:
        """Answer a request, or take a notification."""
        method = context.method
        if context.request_id is None:
            if method == "notifications/roots/list_changed" and context.session.client_params is not None:
                await tell_roots_changed(self._clients, self._clients.of_session(context))
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
        if is_modern(version) and method in _methods.INPUT_REQUIRED_METHODS:
            # What a server of the older protocol asks meanwhile is asked by an answer to this request.
            result = await self._parked.answer(context, lambda: answer(context, dict(context.params or {})))
        else:
            result = await answer(context, dict(context.params or {}))
        return passed_result(method, result, version, self._stamp)

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
            raise _as_mcp_error(error) from None
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
        state_lost = False
        async with self._clients.upstream(client, config, deadline) as session:
            with client.requesting(config.server_name, context, deadline) as under_way:

                async def passed(more: Mapping[str, Any]) -> Answer:
                    nonlocal state_lost
                    answer = await relay(
                        caller_of(session),
                        call.method,
                        named_params({**call.params, **more}, client.info, client.capabilities, client.log_level),
                        deadline=deadline,
                        on_progress=_progress_of(under_way),
                        is_safe=is_safe,
                        refuses=call.target.name if refuses and call.method == "tools/call" else None,
                        about=under_way,
                    )
                    state_lost = state_lost or answer.state_lost
                    return answer.result

                if not is_modern(session.protocol_version):
                    if "requestState" in call.params:
                        # It would run the call once more: only a call that is parked here has such a state.
                        raise invalid_state()
                    await ask_for_log(client, session, config, context)
                try:
                    result = await passed({})
                    if not is_modern(client.protocol_version):
                        result = await with_input(client, under_way, result, passed)
                finally:
                    await client.notices.sent()
        return _with_state_note(result, config.server_name) if state_lost else result

    # What servers tell

    async def _set_level(self, context: Context, params: dict[str, Any]) -> Answer:
        level = _text(params, "level")
        if level not in LEVELS:
            raise MCPError(INVALID_PARAMS, f"There is no log level {level!r}. Levels: {', '.join(LEVELS)}.")
        await set_level(self._clients, self._clients.of_session(context), level)
        return {}

    async def _subscribe(self, context: Context, params: dict[str, Any]) -> Answer:
        uri, client = _text(params, "uri"), self._clients.of_session(context)
        if uri in client.updated:
            return {}
        target = await self._listings.resource(uri)

        def updated(told: Mapping[str, Any]) -> None:
            given = self._listings.given_uri(target.config, str(told.get("uri")))
            client.notices.put("notifications/resources/updated", {**told, "uri": given})

        try:
            await client.subscriptions.add(target.config, target.name, updated)
        except JackfieldError as error:
            raise _as_mcp_error(error) from None
        client.updated[uri] = target.config, target.name, updated
        return {}

    async def _unsubscribe(self, context: Context, params: dict[str, Any]) -> Answer:
        uri, client = _text(params, "uri"), self._clients.of_session(context)
        if (found := client.updated.pop(uri, None)) is not None:
            client.subscriptions.remove(*found)
        return {}


def _as_mcp_error(error: JackfieldError) -> MCPError:
    """A server's own error as it came, any other in words."""
    if isinstance(error, RequestError) and error.rpc_code is not None and error.rpc_message is not None:
        return MCPError(error.rpc_code, error.rpc_message, error.rpc_data)
    code = error.rpc_code if isinstance(error, RequestError) else None
    return MCPError(code or INTERNAL_ERROR, error.headline)


def _progress_of(under_way: UnderWay) -> OnProgress | None:
    """Tells the client of the progress of its request, if it asked for that."""
    if _progress_token(under_way.context) is None:
        return None

    async def report(params: Mapping[str, Any]) -> None:
        context = under_way.context
        token = _progress_token(context)
        if token is not None:
            notification = server_notification("notifications/progress", {**params, "progressToken": token})
            await context.session.send_notification(notification, context.request_id)

    return report


def _progress_token(context: Context) -> str | int | None:
    return as_table((context.params or {}).get("_meta")).get("progressToken")


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
