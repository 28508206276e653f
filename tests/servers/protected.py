"""OAuth authorization servers, each with an MCP server that takes only its tokens, on ports of their own.

Both are the SDK's server side. Every refresh token is taken once: a second time ends the whole sign-in, as
authorization servers that look out for stolen tokens do. What one saw is told at `/test/log`.

Each line on stdin starts a pair: a JSON list of options, see `parse()`; its addresses are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import secrets
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urljoin

import jwt
import uvicorn
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from mcp.types import ToolAnnotations
from pydantic import AnyUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

METADATA = ["other-issuer", "no-pkce", "other-resource", "no-scopes", "both-scopes", "none"]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sse", action="store_true")
    parser.add_argument("--lifetime", type=int, default=3600, help="of access tokens, in seconds")
    parser.add_argument("--no-registration", action="store_true", help="clients are known, or have a document")
    parser.add_argument("--client", help="ID or ID:SECRET of a known client")
    parser.add_argument("--documents", action="store_true", help="take client metadata documents")
    parser.add_argument("--deny", action="store_true", help="the person does not consent")
    parser.add_argument("--iss", choices=["right", "wrong", "missing"], help="RFC 9207")
    parser.add_argument("--metadata", choices=METADATA)
    parser.add_argument("--bad-token", choices=["shape", "refused", "useless"], help="what the token endpoint does")
    parser.add_argument("--open", action="store_true", help="the MCP server lets requests without tokens through")
    parser.add_argument("--at-first", choices=["welcome", "broken"], help="what it answers to requests without tokens")
    parser.add_argument("--challenge", default="usual", help="with the MCP server's 401; `none`: there is none")
    parser.add_argument("--header", help="NAME=VALUE without which nothing of the MCP server answers")
    parser.add_argument("--slow-refresh", type=float, default=0.0, help="seconds before a refresh is answered")
    parser.add_argument("--scope", default="notes:read", help="that the MCP server wants")
    parser.add_argument("--step-up", default="", help="STATUS CHALLENGE that add_note gets without notes:write")
    parser.add_argument("--grants", default="notes:read notes:write", help="scopes that the person consents to")
    parser.add_argument("--token-auth", default="", help="METHOD in which clients show who they are; or several")
    parser.add_argument("--client-key", help="FILE of the public key of the known client")
    parser.add_argument("--no-such-scope", default="", help="that the token endpoint refuses to programs")
    parser.add_argument("--busy", type=int, default=0, help="what the token endpoint answers to programs")
    parser.add_argument("--legacy", help="ISSUER of an MCP server that is its own authorization server (2025-03-26)")
    return parser.parse_args(arguments)


class Provider(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """Keeps everything in memory; the person consents at once, or never."""

    def __init__(self, options: argparse.Namespace, issuer: str) -> None:
        self.options = options
        self.issuer = issuer
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.access: dict[str, AccessToken] = {}
        self.refresh: dict[str, RefreshToken] = {}
        self.used: set[str] = set()
        self.seen: Counter[str] = Counter()
        self.asked: list[dict[str, Any]] = []
        self.redirect_uri = ""
        """Where the last request wants to be redirected to."""
        if options.client:
            client_id, _, secret = options.client.partition(":")
            self.clients[client_id] = OAuthClientInformationFull(
                client_id=client_id,
                client_secret=secret or None,
                token_endpoint_auth_method=(options.token_auth.split() or ["client_secret_basic"])[0]
                if secret
                else "none",
                scope="notes:read notes:write",
            )

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        client = self.clients.get(client_id)
        if client is None and self.options.documents and client_id.startswith("https://"):
            # What a real one would fetch from there.
            client = OAuthClientInformationFull(client_id=client_id, token_endpoint_auth_method="none")
            client.scope = "notes:read notes:write"
            self.clients[client_id] = client
        if client is not None and (self.options.client or self.options.documents) and self.redirect_uri:
            # RFC 8252, section 7.3: any port of the loopback address.
            client.redirect_uris = [AnyUrl(self.redirect_uri)]
        return client

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.seen["registrations"] += 1
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        self.seen["authorizations"] += 1
        self.asked.append({"client_id": client.client_id, **params.model_dump(mode="json")})
        iss = {"right": urljoin(self.issuer, self.options.legacy or ""), "wrong": "https://evil.example"}.get(
            self.options.iss
        )
        target = str(params.redirect_uri)
        if self.options.deny:
            about = "the person said no"
            return construct_redirect_uri(
                target, error="access_denied", error_description=about, state=params.state, iss=iss
            )
        code = secrets.token_urlsafe(32)
        self.codes[code] = AuthorizationCode(
            code=code,
            client_id=client.client_id,
            expires_at=time.time() + 60,
            subject="ada",
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
            scopes=params.scopes or [],
        )
        return construct_redirect_uri(target, code=code, state=params.state, iss=iss)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        if self.options.bad_token == "refused":
            raise TokenError("invalid_grant", f"no such code: {authorization_code.code}")
        self.codes.pop(authorization_code.code)
        scopes = [scope for scope in authorization_code.scopes if scope in self.options.grants.split()]
        return self.grant(client.client_id, scopes, authorization_code.resource)

    def grant(self, client_id: str, scopes: list[str], resource: str | None) -> OAuthToken:
        access, refresh = f"access-{secrets.token_hex(16)}", f"refresh-{secrets.token_hex(16)}"
        common: dict[str, Any] = {"client_id": client_id, "scopes": scopes, "resource": resource, "subject": "ada"}
        lifetime = self.options.lifetime
        if self.options.bad_token != "useless":
            # Whole seconds, rounded up: what is on its way when a token ends is still let in.
            self.access[access] = AccessToken(token=access, expires_at=int(time.time()) + lifetime + 1, **common)
        self.refresh[refresh] = RefreshToken(token=refresh, **common)
        return OAuthToken(access_token=access, refresh_token=refresh, expires_in=lifetime, scope=" ".join(scopes))

    async def of_program(self, request: Request, form: dict[str, str]) -> Response:
        """The grant of client credentials, which the SDK's server side does not have."""
        self.seen["programs"] += 1
        method, client_id = shown_by(request, form, self.options, self.issuer)
        self.asked.append({"method": method, "client_id": client_id, **form})
        if self.options.busy:
            return Response("", self.options.busy)
        scopes = form.get("scope", "").split()
        if client_id is None or method not in (self.options.token_auth.split() or [method]):
            basic = request.headers.get("authorization", "").partition(" ")[2]
            said = f"not {sorted(form.values())} {unquote(base64.b64decode(basic).decode())}"
            return JSONResponse({"error": "invalid_client", "error_description": said}, 401)
        if self.options.no_such_scope in scopes:
            return JSONResponse({"error": "invalid_scope"}, 400)
        given = [scope for scope in scopes if scope in self.options.grants.split()]
        token = self.grant(client_id, given, form.get("resource"))
        return JSONResponse(token.model_dump(exclude={"refresh_token"}))

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        if refresh_token in self.used:
            self.seen["reuses"] += 1
            self.refresh.clear()
            self.access.clear()
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        self.refresh.pop(refresh_token.token)
        self.used.add(refresh_token.token)
        self.seen["refreshes"] += 1
        await asyncio.sleep(self.options.slow_refresh)
        return self.grant(client.client_id, scopes, refresh_token.resource)

    async def load_access_token(self, token: str) -> AccessToken | None:
        found = self.access.get(token)
        return found if found and (found.expires_at or 0) > time.time() else None

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.seen["revocations"] += 1
        self.access.clear()
        self.refresh.clear()

    async def verify_token(self, token: str) -> AccessToken | None:
        return await self.load_access_token(token)

    # For tests

    async def log(self, request: Request) -> Response:
        return JSONResponse({**self.seen, "asked": self.asked, "clients": len(self.clients)})

    async def change(self, request: Request) -> Response:
        """Forget `access` tokens, `refresh` tokens or `clients`; set options."""
        for name, value in request.query_params.multi_items():
            if name == "forget":
                getattr(self, value).clear()
            else:
                setattr(self.options, name, type(getattr(self.options, name))(value))
        return JSONResponse({})


def shown_by(
    request: Request, form: dict[str, str], options: argparse.Namespace, issuer: str
) -> tuple[str, str | None]:
    """How a client shows who it is, and who that is; nobody if it cannot be."""
    known, _, secret = (options.client or "").partition(":")
    if "client_assertion" in form:
        try:
            key = Path(options.client_key).read_text()
            audience = [issuer, f"{issuer}/"]
            said = jwt.decode(form["client_assertion"], key, ["ES256", "RS256", "EdDSA", "PS256"], audience=audience)
        except jwt.InvalidTokenError:
            return "private_key_jwt", None
        return "private_key_jwt", known if said["iss"] == said["sub"] == known else None
    kind, _, coded = request.headers.get("authorization", "").partition(" ")
    if kind == "Basic":
        user, _, password = base64.b64decode(coded).decode().partition(":")
        return "client_secret_basic", known if (unquote(user), unquote(password)) == (known, secret) else None
    right = (form.get("client_id"), form.get("client_secret")) == (known, secret)
    return "client_secret_post", known if right else None


def again(body: bytes, receive: Receive) -> Receive:
    """What reads a body that was read already."""
    whole = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def read() -> Any:
        return next(whole, None) or await receive()

    return read


class Watched:
    """Around an app: answers in place of it as the options say."""

    def __init__(self, app: ASGIApp, provider: Provider) -> None:
        self.app = app
        self.provider = provider

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request, options = Request(scope, receive), self.provider.options
        path = request.url.path
        answer: Response | None = None
        if path == "/authorize":
            self.provider.redirect_uri = request.query_params.get("redirect_uri", "")
        if options.metadata == "other-resource" and path.startswith("/.well-known/oauth-protected"):
            said = {"resource": "http://127.0.0.1:1/other", "authorization_servers": [self.provider.issuer]}
            answer = JSONResponse(said)
        if (options.metadata or "").endswith("-scopes") and path.startswith("/.well-known/oauth-protected"):
            said = {"resource": f"{request.base_url}mcp", "authorization_servers": [self.provider.issuer]}
            if options.metadata == "both-scopes":
                said["scopes_supported"] = ["notes:read", "notes:write"]
            answer = JSONResponse(said)
        if options.bad_token == "shape" and path == "/token":
            answer = JSONResponse({"refresh_token": "refresh-in-a-bad-shape"})
        if path == "/token":
            body = await request.body()
            form = dict(parse_qsl(body.decode()))
            if form.get("grant_type") == "client_credentials":
                answer = await self.provider.of_program(request, form)
            receive = again(body, receive)
        has_token = any(name == b"authorization" for name, _ in scope["headers"])
        if options.at_first and path == "/mcp" and not has_token:
            answer = Response("{}", 200 if options.at_first == "welcome" else 500)
        if options.header and path.startswith(("/mcp", "/sse", "/.well-known/oauth-protected")):
            name, _, value = options.header.partition("=")
            if request.headers.get(name) != value:
                answer = Response("the gateway wants its header", 403)
        if options.step_up and path == "/mcp" and request.method == "POST":
            body = await request.body()
            token = request.headers.get("authorization", "").partition(" ")[2]
            scopes = self.provider.access[token].scopes if token in self.provider.access else ["notes:write"]
            if b'"add_note"' in body and "notes:write" not in scopes:
                status, _, challenge = options.step_up.partition(" ")
                answer = Response("", int(status), {"WWW-Authenticate": challenge})
            receive = again(body, receive)
        await (answer or self.app)(scope, receive, send if options.challenge == "usual" else self.challenging(send))

    def challenging(self, send: Send) -> Send:
        async def other(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                kept = [pair for pair in message["headers"] if pair[0].lower() != b"www-authenticate"]
                if self.provider.options.challenge != "none":
                    kept.append((b"www-authenticate", self.provider.options.challenge.encode()))
                message = {**message, "headers": kept}
            await send(message)

        return other


def authorization_server(provider: Provider) -> Starlette:
    options = provider.options
    issuer = AuthSettings(issuer_url=provider.issuer, resource_server_url=None).issuer_url  # type: ignore[arg-type]
    registration = ClientRegistrationOptions(
        enabled=not (options.no_registration or options.client),
        valid_scopes=["notes:read", "notes:write"],
        default_scopes=["notes:read"],
    )
    routes = create_auth_routes(
        provider, issuer, client_registration_options=registration, revocation_options=RevocationOptions(enabled=True)
    )

    async def metadata(request: Request) -> Response:
        found = next(route for route in routes if route.path.startswith("/.well-known"))
        sent: list[bytes] = []

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))

        await found.app(request.scope, request.receive, send)
        said = json.loads(b"".join(sent))
        said["client_id_metadata_document_supported"] = options.documents
        if options.iss:
            said["authorization_response_iss_parameter_supported"] = True
        if options.token_auth:
            said["token_endpoint_auth_methods_supported"] = options.token_auth.split()
        if options.metadata == "other-issuer":
            said["issuer"] = "https://evil.example"
        if options.legacy:
            said["issuer"] = urljoin(provider.issuer, options.legacy)
        if options.metadata == "no-pkce":
            del said["code_challenge_methods_supported"]
        return JSONResponse(said)

    own = [Route("/test/log", provider.log), Route("/test/change", provider.change, methods=["POST"])]
    if options.metadata != "none" or options.legacy:
        own.append(Route("/.well-known/oauth-authorization-server", metadata))
    return Starlette(routes=[*own, *routes], middleware=[Middleware(Watched, provider=provider)])


def mcp_server(url: str, provider: Provider) -> Starlette:
    options = provider.options
    path = "/sse" if options.sse else "/mcp"
    settings = AuthSettings(
        issuer_url=provider.issuer,  # type: ignore[arg-type]
        resource_server_url=None if options.metadata == "none" else url + path,  # type: ignore[arg-type]
        required_scopes=[options.scope],
        validate_token_resource=options.metadata != "none",
    )
    guarded: dict[str, Any] = {} if options.open else {"auth": settings, "token_verifier": provider}
    server = MCPServer("protected", log_level="CRITICAL", **guarded)
    calls = Counter[str]()

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def whose(ctx: Context) -> str:
        """Whose notes these are."""
        return f"ada's, by {(ctx.headers or {}).get('authorization', 'nobody')[:13]}"

    @server.tool()
    def add_note(text: str) -> int:
        """Add a note; how many there are."""
        calls["notes"] += 1
        return calls["notes"]

    @server.tool()
    async def wait(seconds: float) -> str:
        """Take some time."""
        await asyncio.sleep(seconds)
        return "done"

    app = server.sse_app() if options.sse else server.streamable_http_app()
    app.add_middleware(Watched, provider=provider)
    return app


def listen() -> tuple[socket.socket, str]:
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


async def main() -> None:
    tasks: list[asyncio.Task[None]] = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        options = parse(json.loads(line))
        (for_tokens, issuer), (for_notes, url) = listen(), listen()
        if options.legacy:
            options.metadata, issuer = "none", url
        provider = Provider(options, issuer)
        apps = [(authorization_server(provider), for_tokens), (mcp_server(url, provider), for_notes)]
        if options.legacy:
            apps[1][0].router.routes.extend(apps[0][0].routes)
        for app, listener in apps:
            config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
            tasks.append(asyncio.create_task(uvicorn.Server(config).serve([listener])))
        print(f"{url}{'/sse' if options.sse else '/mcp'} {issuer}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
