"""Served sessions that need a token: an authorization server, users with tokens, and instances that share a backend."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import anyio
import httpx2
import jwt
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from jackfield.serving import Backend, JWTAuth, ServedSessions, serve_sessions

AUDIENCE = "https://mcp.example.com/mcp"
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
MODERN = "2026-07-28"


class Server(uvicorn.Server):
    """One that ends when it is told to, and not at its next look ten times a second."""

    def __init__(self, app: Any) -> None:
        super().__init__(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2, access_log=True))
        self._told = anyio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with anyio.move_on_after(0.1):
                await self._told.wait()


@asynccontextmanager
async def all_listening(apps: Sequence[Any]) -> AsyncGenerator[list[str]]:
    """Serves ASGI applications on loopback, and ends them at the same time; gives their addresses."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in apps]
        servers = [Server(app) for app in apps]
        async with anyio.create_task_group() as tasks:
            for listener, server in zip(listeners, servers, strict=True):
                listener.bind(("127.0.0.1", 0))
                tasks.start_soon(server.serve, [listener])
            await until(lambda: all(server.started for server in servers), 20)
            try:
                yield [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
            finally:
                for server in servers:
                    server.end()


@asynccontextmanager
async def listening(app: Any) -> AsyncGenerator[str]:
    """Serves an ASGI application on loopback; gives its address."""
    async with all_listening([app]) as [url]:
        yield url


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Waits for a condition, a function or an async one."""
    with anyio.fail_after(seconds):
        while True:
            outcome = condition()
            if (await outcome) if hasattr(outcome, "__await__") else outcome:
                return
            await anyio.sleep(0.01)


class Key:
    """A pair of keys of an authorization server."""

    def __init__(self, key_id: str | None, algorithm: str = "ES256", bits: int = 2048) -> None:
        self.key_id = key_id
        self.algorithm = algorithm
        is_rsa = algorithm[:2] in ("RS", "PS")
        self.private: Any = rsa.generate_private_key(65537, bits) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        public = self.private.public_key()
        self.public_pem: bytes = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        made: Any = (RSAAlgorithm if is_rsa else ECAlgorithm).to_jwk(public, as_dict=True)
        self.public: dict[str, Any] = {**made, "use": "sig"} | ({} if key_id is None else {"kid": key_id})


class Issuer:
    """An authorization server: its metadata, its keys, and what is asked of it."""

    def __init__(self) -> None:
        self.key = Key("first")
        self.published: list[Mapping[str, Any]] = [self.key.public]
        self.metadata_path = "/.well-known/oauth-authorization-server"
        self.metadata: dict[str, Any] = {}
        self.is_down = False
        self.redirect: str | None = None
        self.body: bytes | None = None
        self.asked: list[str] = []
        self.answers: dict[str, Callable[[Request], Awaitable[Response]]] = {}
        """To requests for other paths."""
        self.url = ""
        self.app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])

    async def _answer(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        if self.is_down:
            return Response(status_code=500)
        if request.url.path == self.metadata_path:
            return JSONResponse({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.metadata})
        if request.url.path in self.answers:
            return await self.answers[request.url.path](request)
        if request.url.path == "/keys":
            if self.redirect is not None:
                return RedirectResponse(self.redirect)
            if self.body is not None:
                return Response(self.body, media_type="application/json")
            return JSONResponse({"keys": self.published})
        return Response(status_code=404)

    def claims(self, subject: str = "ann", **more: Any) -> dict[str, Any]:
        """Those of a good token; `None` leaves one out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": subject,
            "client_id": "app",
            "iat": now,
            "exp": now + 600,
            "scope": "notes:read notes:write",
            **more,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, subject: str = "ann", *, key: Key | None = None, **more: Any) -> str:
        """A token of a user."""
        key = key or self.key
        headers = {} if key.key_id is None else {"kid": key.key_id}
        return jwt.encode(self.claims(subject, **more), key.private, key.algorithm, headers)


@asynccontextmanager
async def issuing() -> AsyncGenerator[Issuer]:
    """An authorization server that listens."""
    issuer = Issuer()
    async with listening(issuer.app) as issuer.url:
        yield issuer


class Place(BaseModel):
    """What is asked of users."""

    city: str


class Gate:
    """What tests and the handlers of all instances share."""

    def __init__(self) -> None:
        self.opened = anyio.Event()
        self.running = 0
        self.cancelled = 0


def guarded_server(gate: Gate) -> MCPServer[Any]:
    """An SDK server whose tools say who calls them."""
    server: MCPServer[Any] = MCPServer("guarded", log_level="ERROR")

    @server.tool()
    async def whoami() -> str:
        """Who calls, with which scopes."""
        token = get_access_token()
        return json.dumps(None if token is None else [token.client_id, token.subject, token.scopes])

    @server.tool()
    async def wait(ctx: Context[Any, Any]) -> str:
        """Reports progress, and waits until the test lets it go on."""
        gate.running += 1
        try:
            await ctx.report_progress(1, 2)
            await gate.opened.wait()
        except anyio.get_cancelled_exc_class():
            gate.cancelled += 1
            raise
        finally:
            gate.running -= 1
        return "went on"

    @server.tool()
    async def ask(ctx: Context[Any, Any]) -> str:
        """Asks the user."""
        answer = await ctx.elicit("Which city?", Place)
        return f"{answer.action}: {getattr(getattr(answer, 'data', None), 'city', None)}"

    return server


class Client:
    """Speaks JSON-RPC over HTTP by hand, so that each detail is the test's."""

    def __init__(self, http: httpx2.AsyncClient, token: str | None, session: str | None = None) -> None:
        self._http = http
        self.token = token
        self.session = session

    def headers(self, **more: str) -> dict[str, str]:
        """Those of each request."""
        return {
            **HEADERS,
            **({} if self.token is None else {"authorization": f"Bearer {self.token}"}),
            **({} if self.session is None else {"mcp-session-id": self.session}),
            **{name.replace("_", "-"): value for name, value in more.items()},
        }

    async def post(self, url: str, message: Mapping[str, Any], **headers: str) -> httpx2.Response:
        """Post one message."""
        return await self._http.post(url, json={"jsonrpc": "2.0", **message}, headers=self.headers(**headers))

    async def request(
        self, url: str, method: str, params: Mapping[str, Any] | None = None, *, number: int | str = 1, **headers: str
    ) -> httpx2.Response:
        """Post a request."""
        return await self.post(url, {"id": number, "method": method, "params": params or {}}, **headers)

    async def modern(
        self, url: str, method: str, params: Mapping[str, Any] | None = None, *, number: int | str = 1
    ) -> httpx2.Response:
        """Post a request of 2026-07-28."""
        return await self.request(
            url, method, {**(params or {}), "_meta": MODERN_META}, number=number, **modern_headers(method, params)
        )

    async def initialize(self, url: str) -> str:
        """Open a session; gives its id."""
        response = await self.request(url, "initialize", INITIALIZE)
        assert response.status_code == 200, response.text
        self.session = response.headers["mcp-session-id"]
        assert (await self.post(url, {"method": "notifications/initialized"})).status_code == 202
        return cast("str", self.session)

    async def call(self, url: str, tool: str, number: int | str = 1, **arguments: Any) -> str:
        """Call a tool; gives its text."""
        response = await self.request(url, "tools/call", {"name": tool, "arguments": arguments}, number=number)
        assert response.status_code == 200, response.text
        return text_of(answer_of(response.text))

    @asynccontextmanager
    async def stream(self, url: str, **headers: str) -> AsyncGenerator[httpx2.Response]:
        """Read the standalone stream."""
        sent = self.headers(**{"accept": "text/event-stream", **headers})
        async with self._http.stream("GET", url, headers=sent) as response:
            yield response


INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"elicitation": {}},
    "clientInfo": {"name": "by hand", "version": "1"},
}


MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    "io.modelcontextprotocol/clientInfo": {"name": "by hand", "version": "1"},
}


def modern_headers(method: str, params: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Those that a request of 2026-07-28 must have."""
    name = (params or {}).get("name")
    return {"mcp_protocol_version": MODERN, "mcp_method": method} | ({} if name is None else {"mcp_name": name})


def answer_of(body: str) -> dict[str, Any]:
    """The answer in a body, which is JSON or a stream."""
    if body.startswith("{"):
        return json.loads(body)
    messages = [json.loads(line[5:]) for line in body.splitlines() if line.startswith("data:") and line[5:].strip()]
    [answer] = [message for message in messages if "result" in message or "error" in message]
    return answer


def text_of(answer: Mapping[str, Any]) -> str:
    """The text of a tool's result."""
    return answer["result"]["content"][0]["text"]


class Instances:
    """Instances that share a backend."""

    def __init__(self, served: Sequence[ServedSessions], urls: Sequence[str], gate: Gate) -> None:
        self.served = served
        self.urls = urls
        self.gate = gate

    async def assert_idle(self) -> None:
        """Nothing runs, and no ledger or counter says otherwise."""
        for one in self.served:
            here = one.host.instance
            await until(lambda here=here: here.is_idle)
            assert not await one.host.sessions.running_on(here.name)
        assert self.gate.running == 0


@asynccontextmanager
async def instances(
    count: int = 2,
    *,
    backend: Callable[[], Backend] | None = None,
    server: Callable[[Gate], MCPServer[Any]] = guarded_server,
    **options: Any,
) -> AsyncGenerator[Instances]:
    """Instances of one server.

    Args:
        count: How many.
        backend: Makes what each of them uses; they share this process's memory if omitted.
        server: Makes the server of each of them.
        options: Of `serve_sessions`.
    """
    gate, shared = Gate(), Backend()
    served = [serve_sessions(server(gate), backend() if backend else shared, **options) for _ in range(count)]
    async with all_listening(served) as urls:
        yield Instances(served, [f"{url}/mcp" for url in urls], gate)


@dataclass
class Guarded:
    """Instances that need tokens, who issues them, and a client of HTTP."""

    instances: Instances
    issuer: Issuer
    http: httpx2.AsyncClient

    @property
    def urls(self) -> Sequence[str]:
        """Of the instances."""
        return self.instances.urls

    def client(self, subject: str = "ann", **claims: Any) -> Client:
        """Somebody with a good token."""
        return Client(self.http, self.issuer.token(subject, **claims))


@asynccontextmanager
async def guarded(count: int = 2, required_scopes: Sequence[str] = (), **options: Any) -> AsyncGenerator[Guarded]:
    """Instances that share a backend and take the tokens of one issuer; options of `serve_sessions`."""
    async with issuing() as issuer, httpx2.AsyncClient(timeout=30) as http:
        auth = JWTAuth(issuer=issuer.url, audience=AUDIENCE, required_scopes=required_scopes)
        async with instances(count, auth=auth, **options) as made:
            yield Guarded(made, issuer, http)
            if not options.get("stateless"):
                await made.assert_idle()
