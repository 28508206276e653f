"""`SignInPages`: where a user of the gateway signs in to a server, with a browser.

The link that a client was given leads to `/connect/`. There the person shows to be the user whose link it is: by their
token of the gateway, or by signing in where those tokens come from. Then the browser goes to the server's authorization
server, and comes back to `/oauth/callback`, which takes it only from the very browser that began.
"""

from __future__ import annotations

import hashlib
import html
import json
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hmac import compare_digest
from http import HTTPStatus
from urllib.parse import parse_qsl

import anyio
from anyio.abc import TaskGroup
from mcp.server.auth.provider import TokenVerifier
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth.answer import Answer, denial
from ..auth.credentials import Credentials
from ..auth.sign_in import SIGN_IN_SECONDS, ShowUrl, WayBack, obtained, sign_in
from ..auth.tokens import TokenCheckError, accepted
from ..config.oauth import OAuthConfig
from ..config.servers import HttpConfig, RemoteConfig
from ..errors import JackfieldError
from ..serving.request_checks import HostCheck
from .gateway import Gateway
from .http_settings import HttpSettings
from .instances.talk import Talk
from .sign_ins import CALLBACK_PATH, CONNECT_PATH, SignIns
from .user_configs import UserConfig, config_of
from .users import User

logger: logging.Logger = logging.getLogger("jackfield")

COOKIE = "jackfield-sign-in"
_TOPIC = "sign-in"

_MOST_FLOWS = 200
_BEGIN_SECONDS = 30.0
"""How long the server and its authorization server may take until the browser can be sent there."""
_END_SECONDS = 30.0
_MAX_FORM_BYTES = 16 * 1024
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

ConfigOf = Callable[[User, str], RemoteConfig | None]
"""A user's configuration of a server; `None` if there is none that the user signs in to."""

Flow = Callable[[ShowUrl, WayBack], Awaitable[Credentials]]


def sign_in_pages(gateway: Gateway, settings: HttpSettings, url: str, address: str) -> SignInPages | None:
    """Have the users of a gateway sign in to servers; `None` if they sign in to none.

    Args:
        gateway: The gateway, entered.
        settings: How it is served.
        url: Of its endpoint, as clients reach it.
        address: Where it listens.
    """
    credentials, auth = gateway.credentials, settings.auth
    if credentials.tokens is None or auth is None:
        return None
    sign_ins = SignIns(credentials.tokens, gateway.views, gateway.clients, url.rpartition("/")[0])
    gateway.relay.sign_ins = sign_ins

    def config_for(user: User, server_name: str) -> RemoteConfig | None:
        known = next((config for config in gateway.configs if config.server_name == server_name), None)
        own = None if known is None else config_of(user, known, credentials)
        is_signed_in_to = isinstance(own, UserConfig) and own.account.signs_in
        return own if is_signed_in_to and isinstance(own, RemoteConfig) else None

    return SignInPages(
        sign_ins,
        config_for,
        auth,
        url,
        signs_in_here=getattr(auth, "resource", None) is not None,
        hosts=settings.allowed_hosts(address),
        origins=settings.allowed_origins(address),
        tasks=gateway.tasks,
    )


@dataclass(eq=False)
class _Visit:
    """One sign-in under way, in one browser."""

    user: User
    server_name: str
    browser: str
    """The SHA-256 of the browser's cookie."""
    is_proof: bool
    """Whether it shows who the person is, and is not the one that was asked for."""
    answer: Answer | None = None
    url: str | None = None
    shown: anyio.Event = field(default_factory=anyio.Event)
    done: anyio.Event = field(default_factory=anyio.Event)
    credentials: Credentials | None = None
    failure: JackfieldError | None = None


class SignInPages:
    """An ASGI application. Enter it while the gateway is served.

    Args:
        sign_ins: Made the links.
        config_of: Finds the servers of users.
        auth: Checks the tokens of the gateway itself.
        url: The address of the gateway's endpoint, as clients reach it.
        signs_in_here: Whether the gateway's own tokens come from an authorization server.
        hosts: Accepted `Host` headers, as for `HostCheck`.
        origins: Accepted `Origin` headers, likewise.
        tasks: In which sign-ins run.
    """

    def __init__(
        self,
        sign_ins: SignIns,
        config_of: ConfigOf,
        auth: TokenVerifier,
        url: str,
        *,
        signs_in_here: bool,
        hosts: Sequence[str],
        origins: Sequence[str],
        tasks: TaskGroup,
    ) -> None:
        self._sign_ins = sign_ins
        self._config_of = config_of
        self._auth = auth
        self._own = HttpConfig(server_name="this gateway", url=url, auth=OAuthConfig())
        self._signs_in_here = signs_in_here
        self._tasks = tasks
        self._visits: set[_Visit] = set()
        self._talk: Talk | None = None
        self._is_https = url.startswith("https:")
        self._callback = f"{sign_ins.base_url}{CALLBACK_PATH}"
        routes = [
            Route(f"{CONNECT_PATH}{{ticket}}", self._welcome, methods=["GET"]),
            Route(f"{CONNECT_PATH}{{ticket}}", self._begin, methods=["POST"]),
            Route(CALLBACK_PATH, self._come_back, methods=["GET"]),
        ]
        app: ASGIApp = Starlette(routes=routes)
        self._app = HostCheck(app, hosts, origins)

    @staticmethod
    def takes(scope: Scope) -> bool:
        """Whether a request is for these pages."""
        path = str(scope.get("path", ""))
        return scope["type"] == "http" and (path.startswith(CONNECT_PATH) or path == CALLBACK_PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._app(scope, receive, send)

    # The pages

    async def _welcome(self, request: Request) -> Response:
        about = self._sign_ins.of_ticket(request.path_params["ticket"])
        if about is None:
            return _over()
        user, server_name = about
        browser = request.cookies.get(COOKIE) or secrets.token_urlsafe(32)
        name, server = html.escape(user.subject), html.escape(server_name)
        field = (
            f"<p>Only {name} may continue: sign in as {name} first.</p>"
            if self._signs_in_here
            else f'<p><label>The token of {name} for this gateway<br><input type="password" name="token" required '
            'autocomplete="off" autofocus></label></p>'
        )
        response = _page(
            f"Sign in to {server}",
            f"<p>A program of <b>{name}</b> wants to use <b>{server}</b> through this gateway, which will store your "
            f"sign-in to {server} for {name}'s programs.</p><p>Continue only if you are {name} and a program that you "
            f'use has just asked you to.</p><form method="post">{field}<p><button>Continue to {server}</button></p>'
            "</form>",
        )
        response.set_cookie(
            COOKIE, browser, max_age=3600, path="/", secure=self._is_https, httponly=True, samesite="lax"
        )
        return response

    async def _begin(self, request: Request) -> Response:
        about = self._sign_ins.of_ticket(request.path_params["ticket"])
        if about is None:
            return _over()
        browser = request.cookies.get(COOKIE)
        if not browser:
            return _problem(HTTPStatus.FORBIDDEN, "This page needs a cookie. Allow it, and open the link again.")
        user, server_name = about
        if self._signs_in_here:
            return await self._sent_on(_Visit(user, server_name, _digest(browser), is_proof=True))
        if int(request.headers.get("content-length") or _MAX_FORM_BYTES + 1) > _MAX_FORM_BYTES:
            return _problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This is not a token.")
        form = dict(parse_qsl((await request.body()).decode("latin-1")))
        if not await self._is_of(user, form.get("token", "").strip()):
            return _problem(HTTPStatus.FORBIDDEN, f"This is not a token of {user.subject} for this gateway.")
        return await self._sent_on(_Visit(user, server_name, _digest(browser), is_proof=False))

    async def _come_back(self, request: Request) -> Response:
        parameters, cookie = dict(request.query_params), request.cookies.get(COOKIE)
        if cookie is not None:
            browser = _digest(cookie)
            if (answered := self._answered_here(parameters, browser)) is not None:
                return await answered
            if self._talk is not None and "state" in parameters:
                asked = json.dumps([parameters, browser])
                if (text := await self._talk.ask_all(_TOPIC, asked, 2 * _END_SECONDS)) is not None:
                    return _sent(text)
        return _problem(
            HTTPStatus.BAD_REQUEST,
            "This does not belong to a sign-in started in this browser. Open your program's link again.",
        )

    def _answered_here(self, parameters: Mapping[str, str], browser: str) -> Awaitable[Response] | None:
        """The answer to a browser that comes back; `None` if it did not begin here."""
        for visit in self._visits:
            answer = visit.answer
            if answer is not None and not answer.received.is_set() and answer.belongs(parameters):
                if not compare_digest(visit.browser, browser):
                    break
                return self._answered(visit, answer, parameters)
        return None

    def share(self, talk: Talk) -> None:
        """Have a browser come back to any instance: the one that it began at answers."""
        self._talk = talk
        talk.answers[_TOPIC] = self._asked
        self._sign_ins.share(talk)

    def _asked(self, text: str) -> Awaitable[str] | None:
        """Another instance asks whether a browser that came back there began here."""
        parameters, browser = json.loads(text)
        answered = self._answered_here(parameters, browser)
        return None if answered is None else _sendable(answered)

    async def _answered(self, visit: _Visit, answer: Answer, parameters: Mapping[str, str]) -> Response:
        answer.take(parameters)
        with anyio.move_on_after(_END_SECONDS):
            await visit.done.wait()
        if visit.credentials is None:
            said = denial(parameters) if "error" in parameters else None
            why = visit.failure.message if visit.failure is not None else said or "it takes too long"
            return _problem(HTTPStatus.BAD_GATEWAY, f"The sign-in failed: {why}")
        if not visit.is_proof:
            return _page(
                "Signed in",
                f"<p>{html.escape(visit.server_name)} can now be used by the programs of "
                f"{html.escape(visit.user.subject)}. Close this page and return to your program.</p>",
            )
        if not await self._is_of(visit.user, visit.credentials.access_token):
            return _problem(
                HTTPStatus.FORBIDDEN,
                f"You are not {visit.user.subject}, whose program asked for this sign-in. Nothing was connected.",
            )
        return await self._sent_on(_Visit(visit.user, visit.server_name, visit.browser, is_proof=False))

    # Sign-ins

    async def _is_of(self, user: User, token: str) -> bool:
        """Whether a token of the gateway is one of this user."""
        try:
            access = await accepted(self._auth, token)
        except TokenCheckError:
            return False
        if access is None or access.subject != user.subject:
            return False
        return user.issuer is None or (access.claims or {}).get("iss") == user.issuer

    async def _sent_on(self, visit: _Visit) -> Response:
        """Begin a sign-in, and send the browser to the authorization server."""
        if len(self._visits) >= _MOST_FLOWS:
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "Too many sign-ins are in progress. Try again soon.")
        flow = self._proof if visit.is_proof else self._flow_of(visit)
        if flow is None:
            return _problem(HTTPStatus.NOT_FOUND, f"Sign-in to {visit.server_name} is no longer offered here.")
        self._visits.add(visit)
        self._tasks.start_soon(self._run, visit, flow)
        with anyio.move_on_after(_BEGIN_SECONDS):
            await visit.shown.wait()
        if visit.url is None:
            why = visit.failure.message if visit.failure is not None else "it takes too long"
            return _problem(HTTPStatus.BAD_GATEWAY, f"The sign-in cannot start: {why}")
        return RedirectResponse(visit.url, HTTPStatus.SEE_OTHER, _HEADERS)

    async def _proof(self, show_url: ShowUrl, way_back: WayBack) -> Credentials:
        return await obtained(self._own, show_url=show_url, way_back=way_back)

    def _flow_of(self, visit: _Visit) -> Flow | None:
        config = self._config_of(visit.user, visit.server_name)
        if config is None:
            return None

        async def flow(show_url: ShowUrl, way_back: WayBack) -> Credentials:
            return await sign_in(config, show_url=show_url, way_back=way_back, sign_in_timeout=SIGN_IN_SECONDS)

        return flow

    async def _run(self, visit: _Visit, flow: Flow) -> None:
        async def show(url: str) -> None:
            visit.url = url
            visit.shown.set()

        @asynccontextmanager
        async def way_back(answer: Answer) -> AsyncGenerator[str]:
            visit.answer = answer
            yield self._callback

        try:
            visit.credentials = await flow(show, way_back)
            if not visit.is_proof:
                logger.info("[MCP][%s] A user has signed in through the gateway", visit.server_name)
                await self._sign_ins.done(visit.user, visit.server_name)
        except JackfieldError as error:
            visit.failure = error
        except Exception:
            # It must not end the gateway.
            logger.exception("[MCP][%s] A sign-in of a user failed", visit.server_name)
        finally:
            self._visits.discard(visit)
            visit.shown.set()
            visit.done.set()


async def _sendable(answered: Awaitable[Response]) -> str:
    """A page, or where the browser is sent on to, for another instance."""
    response = await answered
    return json.dumps([response.status_code, response.headers.get("location"), bytes(response.body).decode()])


def _sent(text: str) -> Response:
    """What another instance answers."""
    status, location, body = json.loads(text)
    if location is not None:
        return RedirectResponse(location, status, _HEADERS)
    return Response(body, status, _HEADERS, "text/html; charset=utf-8")


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def _page(title: str, body: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        '<body style="font: 16px system-ui, sans-serif; max-width: 36em; margin: 4em auto; padding: 0 1em">'
        f"<main><h1>{title}</h1>{body}</main></body></html>\n"
    )
    return Response(text, status, _HEADERS, "text/html; charset=utf-8")


def _problem(status: HTTPStatus, text: str) -> Response:
    return _page("Not signed in", f"<p>{html.escape(text)}</p>", status)


def _over() -> Response:
    return _problem(HTTPStatus.NOT_FOUND, "This link is invalid or has expired. Repeat the call to get a new one.")
