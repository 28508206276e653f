"""`WebPage`: one static page, its event stream, and what a person does on it.

Everything but the page itself needs a token, in a header: nothing is in a cookie that a browser would send by itself.
What changes anything also needs a header that no form of another site can send.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from functools import cache
from importlib.resources import files
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import AuthenticationError, JackfieldError
from ...events import EventStream
from ...masking import mask
from ...plain import as_table, parsed_json
from ...serving.request_checks import HostCheck
from ..gateway import Gateway
from .access import PageAccess
from .actions import Actions
from .background import BackgroundProcess
from .browser_sign_in import CALLBACK
from .faults import Faults
from .feed import Feed
from .overview import Overview
from .transcripts import Transcripts

MOST_PAGES = 20
"""Pages that are open at a time."""

_MAX_BODY_BYTES = 64 * 1024
_TYPES = {"css": "text/css", "js": "text/javascript", "html": "text/html"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[Request], Awaitable[Response]]


class WebPage:
    """An ASGI application for `/` and `/page/`. Enter it while the gateway is served.

    Args:
        gateway: What it shows.
        access: Says who may see it.
        endpoint: The path at which clients reach the gateway, where the page tries tools.
        hosts: Accepted `Host` headers, as for `HostCheck`.
        origins: Accepted `Origin` headers, likewise.
        background: Keeps sessions between commands, if anything does.
    """

    def __init__(
        self,
        gateway: Gateway,
        access: PageAccess,
        *,
        endpoint: str,
        hosts: Sequence[str],
        origins: Sequence[str],
        background: BackgroundProcess | None = None,
    ) -> None:
        self._gateway = gateway
        self._access = access
        self._endpoint = endpoint
        self._faults = Faults()
        self._transcripts = Transcripts(gateway.manager)
        self._overview = Overview(gateway, self._faults, self._transcripts)
        self._feed = Feed(self._sections, background)
        self._actions = Actions(gateway, self._transcripts, background)
        self._stack = AsyncExitStack()
        routes = [
            Route("/", self._static("page.html")),
            *(Route(f"/page/{name}", self._static(name)) for name in _static_files() if name != "page.html"),
            Route("/page/about", self._about),
            Route("/page/sign-in", self._changing(self._sign_in), methods=["POST"]),
            Route("/page/sign-out", self._changing(self._sign_out), methods=["POST"]),
            Route("/page/oauth", self._changing(self._begin_sign_in), methods=["POST"]),
            Route(f"/{CALLBACK}", self._end_sign_in),
            Route("/page/link", self._changing(self._link), methods=["POST"]),
            Route("/page/events", self._admitted(self._events)),
            Route("/page/tools", self._admitted(self._tools)),
            Route("/page/transcript", self._admitted(self._transcript)),
            Route("/page/actions/{name}", self._changing(self._admitted(self._act)), methods=["POST"]),
        ]
        app: ASGIApp = Starlette(routes=routes)
        self._app = HostCheck(app, hosts, origins)

    async def __aenter__(self) -> WebPage:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            stack.callback(self._transcripts.stop_all)
            tasks.start_soon(self._feed.run)
            tasks.start_soon(self._listen, await stack.enter_async_context(aclosing(self._gateway.manager.events())))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        await self._stack.__aexit__(exc_type, exc, traceback)

    def address(self) -> str:
        """Where a person can open the page: a link that is valid once, unless clients need tokens."""
        return self._access.link() if "link" in self._access.ways else self._access.url

    def close(self) -> None:
        """End the event streams: the gateway is about to stop."""
        self._feed.close()

    @staticmethod
    def takes(scope: Scope) -> bool:
        """Whether a request is for the page."""
        path = str(scope.get("path", ""))
        return scope["type"] == "http" and (path == "/" or path.startswith("/page/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the page."""
        await self._app(scope, receive, send)

    async def _listen(self, events: EventStream) -> None:
        async for event in events:
            self._faults.event(event)

    def _sections(self) -> Mapping[str, Any]:
        self._transcripts.prune()
        return self._overview.sections()

    # Who may

    def _admitted(self, handler: Handler) -> Handler:
        """The handler, for those whose token is accepted."""

        async def answer(request: Request) -> Response:
            try:
                is_admitted = await self._access.admits(_token(request))
            except JackfieldError as error:
                return _error(503, mask(error.headline))
            if not is_admitted:
                return _error(401, "Sign in again: the page's session has expired.")
            return await handler(request)

        return answer

    def _changing(self, handler: Handler) -> Handler:
        """The handler, for requests that no page of another site can make."""

        async def answer(request: Request) -> Response:
            site = request.headers.get("sec-fetch-site", "same-origin")
            if request.headers.get("x-jackfield-page") != "1" or site not in ("same-origin", "none"):
                return _error(403, "Only the gateway's own page may request this.")
            return await handler(request)

        return answer

    # Signing in

    async def _about(self, request: Request) -> Response:
        return _json({"sign_in": self._access.ways})

    async def _sign_in(self, request: Request) -> Response:
        given = await _body(request)
        if isinstance(token := given.get("token"), str):
            try:
                if await self._access.admits(token):
                    return _json({"token": token})
            except JackfieldError as error:
                return _error(503, mask(error.headline))
            return _error(403, "This token is not valid here, or does not have the scope admin.")
        redeemed = self._access.redeem(str(given.get("code", "")), str(given.get("nonce", "")))
        if redeemed is None:
            return _error(403, "This link is no longer valid: each is valid once, for five minutes.")
        return _json({"token": redeemed})

    async def _begin_sign_in(self, request: Request) -> Response:
        nonce = (await _body(request)).get("nonce")
        if self._access.sign_in is None or not isinstance(nonce, str) or len(nonce) < 16:
            return _error(404, "This gateway has no such sign-in.")
        try:
            return _json({"url": await self._access.sign_in.begin(nonce)})
        except JackfieldError as error:
            return _refused(error)

    async def _end_sign_in(self, request: Request) -> Response:
        """The browser comes back: the page gets a code for its token, and nothing else stays in the history."""
        if self._access.sign_in is None:
            return _error(404, "This gateway has no such sign-in.")
        try:
            token, nonce = await self._access.sign_in.end(dict(request.query_params))
            if not await self._access.admits(token):
                raise AuthenticationError("You are signed in, but this page requires the scope admin.")
            told = {"code": self._access.code(nonce=nonce, token=token)}
        except JackfieldError as error:
            told = {"failed": mask(error.headline)}
        return RedirectResponse(f"{self._access.url}#{urlencode(told)}", 303, headers=_HEADERS)

    async def _sign_out(self, request: Request) -> Response:
        self._access.forget(_token(request))
        return _json({})

    async def _link(self, request: Request) -> Response:
        if not self._access.tell_link():
            return _error(
                429, "No link was printed: the last one is only seconds old, or this gateway does not print links."
            )
        return _json({})

    # What it shows

    async def _events(self, request: Request) -> Response:
        if self._feed.pages >= MOST_PAGES:
            return _error(503, f"{MOST_PAGES} pages are already open: close one of them.")
        token = _token(request)

        async def may_see() -> bool:
            try:
                return await self._access.admits(token)
            except JackfieldError:
                return False

        stream = self._feed.stream(may_see)
        return StreamingResponse(_closed(stream), media_type="text/event-stream", headers=_HEADERS)

    async def _tools(self, request: Request) -> Response:
        try:
            config = self._actions.server(request.query_params.get("server"))
        except JackfieldError as error:
            return _refused(error)
        failure: str | None = None
        if "ask" in request.query_params and not self._gateway.manager.catalog.is_listed(config):
            try:
                await self._actions.do("refresh", {"server": config.server_name})
            except JackfieldError as error:
                failure = mask(error.headline)
        about = {"endpoint": self._endpoint, "all_tools": self._gateway.all_tools, "error": failure}
        return _json({"tools": self._overview.tools_of(config), **about})

    async def _transcript(self, request: Request) -> Response:
        after = request.query_params.get("after", "0")
        number = int(after) if after.isdecimal() and len(after) < 12 else 0
        last, messages = self._transcripts.after(request.query_params.get("id", ""), number)
        return _json({"last": last, "messages": [message.shown() for message in messages]})

    async def _act(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        if name not in self._actions:
            return _error(404, f"There is no action {name!r}.")
        given = await _body(request)
        try:
            return _json(await self._actions.do(name, given))
        except JackfieldError as error:
            return _refused(error)

    def _static(self, name: str) -> Handler:
        async def answer(request: Request) -> Response:
            media_type = _TYPES[name.rpartition(".")[2]]
            return Response(_static_files()[name], media_type=media_type, headers=_HEADERS)

        return answer


async def _closed(stream: AsyncGenerator[str]) -> AsyncGenerator[str]:
    async with aclosing(stream):
        async for text in stream:
            yield text


@cache
def _static_files() -> Mapping[str, bytes]:
    """The page and its parts, by name."""
    folder = files("jackfield.gateway.web").joinpath("static")
    return {part.name: part.read_bytes() for part in folder.iterdir() if part.is_file()}


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _body(request: Request) -> Mapping[str, Any]:
    """What the page sent; nothing if it is too large or no table."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY_BYTES:
            return {}
    return as_table(parsed_json(bytes(body)))


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value), status, media_type="application/json", headers=_HEADERS)


def _error(status: int, text: str) -> Response:
    return _json({"error": text}, status)


def _refused(error: JackfieldError) -> Response:
    return _error(409, mask(error.headline))
