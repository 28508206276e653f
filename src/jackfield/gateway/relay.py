"""`Relay`: the middleware of the gateway's server. It takes every message of every client, and passes it on as it is.

A server behind the gateway is opened by the first request for it, in a session of the client that asks. Only what
is about the client's own connection (the handshake, `ping`, the stream of `subscriptions/listen`) is the SDK's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

import anyio
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND
from mcp.types import methods as _methods

from ..catalog.entry import Kind
from ..catalog.overlay import NOTHING, OwnListings
from ..config.servers import BaseServerConfig
from ..errors import JackfieldError, RequestError
from ..plain import as_table
from ..serving import StoreUnavailableError
from ..serving.context import LEVELS
from .broadcast import set_level, tell
from .client import Client
from .clients import KEEP, Clients, is_sessionless
from .completions import offered_values
from .credentials import SignInNeededError
from .eras import is_modern, passed_result
from .extensions import Extensions
from .forwarding import ElsewhereError
from .guard import Guard
from .listing import Listings, told_as
from .messages import Answer, Context, text_of
from .parked import ParkedCalls
from .relayed_call import RelayedCall, Target, as_mcp_error, outcome_of
from .resource_tools import content_of
from .sign_ins import SIGN_IN_TOOL, SignIns
from .subscriptions import Subject
from .views import Views

logger: logging.Logger = logging.getLogger("jackfield")

_OF_THE_SDK = {"initialize", "server/discover", "ping", "subscriptions/listen"}

_MOST_INSTANCES = 5
"""A request goes to at most this many instances, of which each but the last has ended or lost what it had."""

_READ = {"prompts", "resources", "completions"}
"""Capabilities that a host does not get where models read by tools."""


class Relay:
    """The middleware.

    Args:
        clients: Who asks.
        views: What they may use.
        stamp: Describes the gateway in results.
        parked: Calls that wait for their clients.
        extensions: Answers what the protocol itself does not have.
        guard: Makes the calls, if they may be made.
    """

    def __init__(
        self,
        clients: Clients,
        views: Views,
        stamp: Mapping[str, Any],
        parked: ParkedCalls,
        extensions: Extensions,
        *,
        guard: Guard,
    ) -> None:
        self._clients = clients
        self._views = views
        self._stamp = stamp
        self._parked = parked
        self._guard = guard
        self._extensions = extensions
        self.sign_ins: SignIns | None = None
        """Has users sign in to servers, if any of them do."""
        clients.on_lost_subscriptions = self._subscribe_to_lost
        clients.on_unheard = self._tell_unheard
        self._methods: dict[str, Callable[[Context, dict[str, Any]], Awaitable[Answer]]] = {
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
            "prompts/list": partial(self._list, "prompts"),
            "prompts/get": self._get_prompt,
            "resources/list": partial(self._list, "resources"),
            "resources/templates/list": partial(self._list, "templates"),
            "resources/read": self._read_resource,
            "completion/complete": self._complete,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
        }

    def passes(self, method: str) -> bool:
        """Whether requests of this method are for the servers, and none of the SDK's business."""
        return method in self._methods

    async def __call__(self, context: Context, call_next: CallNext) -> HandlerResult:
        """Answer a request, or take a notification."""
        method = context.method
        if context.request_id is None:
            await self._notified(context)
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
            if method in _methods.SPEC_CLIENT_METHODS:
                raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
            answer = self._extensions.answer
        for _ in range(_MOST_INSTANCES):
            try:
                return await self._answered(context, answer)
            except ElsewhereError as elsewhere:
                result = await self._of_another_instance(context, elsewhere)
            if result is not None:
                return result
        raise MCPError(INTERNAL_ERROR, "The gateway's instances change too quickly; nothing was sent. Try again.")

    async def _answered(
        self, context: Context, answer: Callable[[Context, dict[str, Any]], Awaitable[Answer]]
    ) -> Answer:
        method, version = context.method, context.protocol_version
        if is_modern(version) and method in _methods.INPUT_REQUIRED_METHODS:
            # What a server of the older protocol asks meanwhile is asked by an answer to this request.
            result = await self._parked.answer(context, lambda: self._signed_in(context, answer))
        else:
            result = await self._signed_in(context, answer)
        return passed_result(method, result, version, self._stamp)

    async def _signed_in(
        self, context: Context, answer: Callable[[Context, dict[str, Any]], Awaitable[Answer]]
    ) -> Answer:
        def work() -> Awaitable[Answer]:
            return answer(context, dict(context.params or {}))

        return await (work() if self.sign_ins is None else self.sign_ins.around(context, work))

    async def _of_another_instance(self, context: Context, elsewhere: ElsewhereError) -> Answer | None:
        """What the instance answers that has what a request needs; `None` if this one has it now."""
        others = self._clients.others
        assert others is not None, "nothing is elsewhere"
        try:
            answer = await others.answer(context, elsewhere)
            if answer is None and elsewhere.server_name is not None and not is_sessionless(context):
                self._clients.start(self._subscribe_again, context, elsewhere.server_name)
            return answer
        except JackfieldError as error:
            if context.method == "tools/call":
                return {"content": [{"type": "text", "text": str(error)}], "isError": True}
            raise as_mcp_error(error) from None

    async def _notified(self, context: Context) -> None:
        """Pass a notification on, if it is for servers."""
        method = context.method
        if context.session.client_params is None or is_sessionless(context):
            return
        if method == "notifications/roots/list_changed":
            client = self._clients.of_session(context)
            await tell(self._clients, client, method, context.params)
            if self._clients.others is not None:
                await self._clients.others.across.tell(client, method, context.params)
        elif method not in _methods.SPEC_CLIENT_NOTIFICATION_METHODS:
            await self._extensions.tell(context)

    async def _of_the_sdk(self, context: Context, call_next: CallNext) -> HandlerResult:
        result = await call_next(context)
        if context.method == "initialize" and context.request is None:
            self._clients.of_session(context)
        if context.method in ("initialize", "server/discover") and isinstance(result, dict):
            view = self._views.of(context)
            own = view.own_tools
            known, passes_on = view.listings.capabilities(), view.reading.passes_on
            result["capabilities"] = {key: value for key, value in known.items() if passes_on or key not in _READ}
            if instructions := view.listings.instructions() if own is None else own.instructions:
                result["instructions"] = instructions
        return result

    # Listings, and what they list besides tools

    async def _list(self, kind: Kind, context: Context, params: dict[str, Any]) -> Answer:
        await self._seen(context)
        listings = self._views.of(context).listings
        page = await listings.page(kind, params.get("cursor"), self._own_listings(context))
        self._given(context, kind, listings)
        return page

    def _own_listings(self, context: Context) -> OwnListings:
        return NOTHING if is_sessionless(context) else self._clients.own_listings(self._clients.of_session(context))

    def _given(self, context: Context, kind: Kind, listings: Listings) -> None:
        """A client has the present listing."""
        if not is_sessionless(context):
            told = told_as(kind)
            digest = listings.watch.digest(told, self._own_listings(context))
            self._clients.of_session(context).give(told, digest)

    async def _get_prompt(self, context: Context, params: dict[str, Any]) -> Answer:
        listings = self._views.of(context).listings
        target = await listings.prompt(text_of(params, "name"), self._own_listings(context))
        return await self._pass_on(context, target, {**params, "name": target.name})

    async def _read_resource(self, context: Context, params: dict[str, Any]) -> Answer:
        listings = self._views.of(context).listings
        target = await listings.resource(text_of(params, "uri"), self._own_listings(context))
        return await self._pass_on(context, target, {**params, "uri": target.name})

    async def _complete(self, context: Context, params: dict[str, Any]) -> Answer:
        reference, listings = as_table(params.get("ref")), self._views.of(context).listings
        own = self._own_listings(context)
        if reference.get("type") == "ref/prompt":
            target, key = await listings.prompt(text_of(reference, "name", "ref.name"), own), "name"
        else:
            target, key = await listings.template(text_of(reference, "uri", "ref.uri"), own), "uri"
        params = {**params, "ref": {**reference, key: target.name}}
        result = await self._pass_on(context, target, params)
        return offered_values(result, params, partial(listings.offers_resource, target.config))

    async def _pass_on(self, context: Context, target: Target, params: dict[str, Any]) -> Answer:
        """Pass on a request that is not a call of a tool."""
        try:
            async with self._clients.client(context) as (client, _):
                return await self._guarded(RelayedCall(context, client, context.method, target, params))
        except SignInNeededError:
            raise
        except JackfieldError as error:
            raise as_mcp_error(error) from None

    async def _seen(self, context: Context) -> None:
        """A client that belongs to a session asked for a listing, and is told when that changes."""
        if not is_sessionless(context):
            client, others = self._clients.of_session(context), self._clients.others
            if others is None or client.session_id is None:
                return
            view_name = self._views.of(context).name
            if client.view_name != view_name:
                client.view_name = view_name
                with suppress(StoreUnavailableError):  # Then it receives more than it asked for.
                    await others.note_view(client.session_id, view_name)

    # Tools

    async def _list_tools(self, context: Context, params: dict[str, Any]) -> Answer:
        own_tools = self._views.of(context).own_tools
        more = [] if self.sign_ins is None or params.get("cursor") is not None else self.sign_ins.tools(context)
        if own_tools is None:
            page = await self._list("tools", context, params)
            return {**page, "tools": [*page["tools"], *more]} if more else page
        await self._seen(context)
        listed = await own_tools.listing(context)
        self._given(context, "tools", self._views.of(context).listings)
        return {"tools": [*listed, *more]}

    async def _call_tool(self, context: Context, params: dict[str, Any]) -> Answer:
        name = text_of(params, "name")
        arguments = params.get("arguments")
        arguments = dict(cast("Mapping[str, Any]", arguments)) if isinstance(arguments, Mapping) else {}
        view = self._views.of(context)
        if name == SIGN_IN_TOOL and self.sign_ins is not None and view.accounts:
            return await self.sign_ins.call(context, arguments)
        own_tools = view.own_tools
        handle = own_tools.handle(context, name, arguments) if own_tools is not None else None
        try:
            async with self._clients.client(context, handle) as (client, kept):
                if own_tools is None:
                    target = await view.listings.tool(name, self._clients.own_listings(client))
                    # The listing shows some names of arguments as model APIs take them.
                    params = {**params, "name": target.name}
                    if isinstance(params.get("arguments"), Mapping):
                        params["arguments"] = target.server_arguments(arguments)
                    result = await self._relayed_call(context, client, target, params)
                elif name == "call_tool":
                    target, given, notes = await own_tools.route(client, arguments)
                    params = {**params, "name": target.name, "arguments": given}
                    result = await self._relayed_call(context, client, target, params)
                    if outcome_of(result) == "ok":
                        own_tools.succeeded(client, target)
                    result = noted(result, *notes)
                elif (
                    reading := await view.reading.request(name, arguments, self._clients.own_listings(client))
                ) is not None:
                    method, target, asked = reading
                    if "_meta" in params:
                        asked["_meta"] = params["_meta"]
                    result = content_of(await self._guarded(RelayedCall(context, client, method, target, asked)))
                else:
                    result = await own_tools.call(client, name, arguments)
        except RequestError as error:
            raise as_mcp_error(error) from None
        except SignInNeededError:
            raise
        except JackfieldError as error:
            return {"content": [{"type": "text", "text": str(error)}], "isError": True}
        if kept is not None and handle == KEEP:
            result = noted(result, f'(To continue with this state, pass session="{kept}".)')
        return result

    async def _relayed_call(self, context: Context, client: Client, target: Target, params: dict[str, Any]) -> Answer:
        return await self._guarded(RelayedCall(context, client, "tools/call", target, params))

    async def _guarded(self, call: RelayedCall) -> Answer:
        await self._clients.require_here(call)
        return await self._guard.call(call)

    # What servers tell

    async def _set_level(self, context: Context, params: dict[str, Any]) -> Answer:
        level = text_of(params, "level")
        if level not in LEVELS:
            raise MCPError(INVALID_PARAMS, f"There is no log level {level!r}. Levels: {', '.join(LEVELS)}.")
        client = self._clients.of_session(context)
        await set_level(self._clients, client, level)
        if self._clients.others is not None:
            await self._clients.others.across.tell(client, context.method, {"level": level})
        return {}

    async def _subscribe(self, context: Context, params: dict[str, Any]) -> Answer:
        uri, client = text_of(params, "uri"), self._clients.of_session(context)
        if uri in client.updated:
            return {}
        listings = self._views.of(context).listings
        target = await listings.resource(uri, self._own_listings(context))
        await self._clients.require_here(RelayedCall(context, client, context.method, target, params))

        def updated(told: Mapping[str, Any]) -> None:
            given = listings.given_uri(target.config, str(told.get("uri")))
            client.notices.put("notifications/resources/updated", {**told, "uri": given})

        subject, others = Subject(target.config, target.name), self._clients.others
        if others is not None and not await others.across.claim(client, target.config, uri):
            return {}
        try:
            await client.subscriptions.add(subject, updated)
        except BaseException as error:
            if others is not None:
                with anyio.CancelScope(shield=True):
                    await others.across.drop(client, uri)
            if isinstance(error, JackfieldError):
                raise as_mcp_error(error) from None
            raise
        client.updated[uri] = subject, updated
        return {}

    async def _subscribe_again(self, context: Context, server_name: str) -> None:
        """Subscribe to what a client had subscribed to at a server that was with an instance that died."""
        client, others = self._clients.of_session(context), self._clients.others
        if others is not None:
            await self._subscribe_to(context, await others.across.subscribed(client, server_name))

    async def _subscribe_to_lost(self, client: Client) -> None:
        """Subscribe for a client to what an instance heard of that is gone, at servers over HTTP."""
        others, context = self._clients.others, client.context
        if others is not None and context is not None:
            await self._subscribe_to(context, await others.across.lost(client))

    async def _subscribe_to(self, context: Context, uris: Sequence[str]) -> None:
        for uri in uris:
            try:
                await self._subscribe(context, {"uri": uri})
            except (ElsewhereError, MCPError, JackfieldError) as error:
                logger.warning("[MCP][gateway] A subscription could not be restored: %s", error)

    async def _tell_unheard(self, client: Client, config: BaseServerConfig, told: Mapping[str, Any]) -> None:
        """Tell a client of an update in a session with a server that several instances use: it reaches one of them,
        which need not be the one that subscribed."""
        others, context = self._clients.others, client.context
        if others is not None and context is not None and await others.across.subscribed(client, config.server_name):
            given = self._views.of(context).listings.given_uri(config, str(told.get("uri")))
            client.notices.put("notifications/resources/updated", {**told, "uri": given})

    async def _unsubscribe(self, context: Context, params: dict[str, Any]) -> Answer:
        uri, client = text_of(params, "uri"), self._clients.of_session(context)
        if (others := self._clients.others) is not None:
            await others.across.unsubscribe(client, uri)
            await others.across.drop(client, uri)
            await others.across.tell(client, context.method, {"uri": uri})
        elif (found := client.updated.pop(uri, None)) is not None:
            client.subscriptions.remove(*found)
        return {}


def noted(result: Answer, *notes: str) -> Answer:
    """The result of a call, with words of the gateway's own after the server's."""
    content: object = result.get("content") or []
    if not notes or not isinstance(content, list):
        return result
    return {**result, "content": [*cast("list[Any]", content), *({"type": "text", "text": note} for note in notes)]}
