"""Looks for secrets in everything that leaves: each kind of secret, each way in which a server can fail, each exit.

Servers here quote what they were sent wherever they can: in errors, bodies, headers, reason phrases, addresses,
listings, on stderr. What comes out is searched for the secrets in the forms that texts quote them in. What a tool
returns must come through as it is.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import random
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.servers.raw_http import EVENTS, RawServer, head, result, whole

from jackfield import (
    CallHook,
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    SessionConfig,
    SseConfig,
    StdioConfig,
    ToolCall,
)
from jackfield.auth.credentials import Credentials
from jackfield.auth.store import CredentialStore

_ALPHABETS = (
    "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789",
    "abcdef0123456789-._~",
    "abcXYZ019+/=",
    "aB3!#$%&'()*+,:;<=>?@[]^`{|}~\"\\/ ",
    "aB3äöüßéñ€漢字",
)


class Secrets:
    """The secrets of one case; shows none of them itself."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.values: dict[str, str] = {}

    def new(self, kind: str, *, plain: bool = False) -> str:
        """A new one: of letters and digits alone if it is to be `plain`."""
        alphabet = self._dice.choice(_ALPHABETS[:3] if plain else _ALPHABETS)
        body = "".join(self._dice.choice(alphabet) for _ in range(self._dice.randint(8, 40))).strip()
        self.values[kind] = value = f"{kind[0]}Z9{body}q7"
        return value

    def found_in(self, text: str) -> set[str]:
        """Which kinds of them a text shows."""
        return {kind for kind, value in self.values.items() if any(form in text for form in _forms(value))}


def _forms(value: str) -> Iterator[str]:
    data = value.encode()
    yield from (value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    yield from (quote(value), quote(value, safe=""), quote_plus(value), repr(data)[2:-1], data.decode("latin-1"))
    yield from (json.dumps(json.dumps(value)[1:-1])[1:-1], base64.b64encode(data).decode().rstrip("="))
    yield base64.b64encode(b"user:" + data).decode()


@dataclass
class Leak:
    """A secret that came out."""

    way: str
    place: str
    kinds: set[str]
    where: str

    def __str__(self) -> str:
        return f"{self.way}: {sorted(self.kinds)} in {self.place}: {self.where}"


class Exits:
    """All that came out of one case, by exit."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def add(self, place: str, text: object) -> None:
        """Take note of a text."""
        self.texts.append((place, str(text)))

    def add_error(self, error: BaseException, seen: set[int] | None = None) -> None:
        """An error with all that hangs on it, and what a traceback shows with the variables of all frames."""
        seen = set() if seen is None else seen
        if id(error) in seen:
            return
        seen.add(id(error))
        name = type(error).__name__
        for what, text in (("str", str(error)), ("repr", repr(error)), ("args", repr(error.args))):
            self.add(f"{what} of {name}", text)
        said = {key: value for key, value in vars(error).items() if key != "content"}
        self.add(f"attributes of {name}", f"{said} {getattr(error, '__notes__', '')}")
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        # The frames of this file are not the library's.
        ours = [frame for frame in shown.stack if not frame.filename.startswith(str(Path(__file__).parent))]
        self.add(f"locals in the traceback of {name}", "\n".join(str(frame.locals) for frame in ours))
        inner = (error.__cause__, error.__context__, *(getattr(error, "exceptions", None) or ()))
        for other in inner:
            if other is not None:
                self.add_error(other, seen)

    def add_files(self, place: str, folder: Path) -> None:
        """All files but those that are there to keep tokens."""
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "auth" not in path.relative_to(folder).parts:
                self.add(f"{place}: {path.name}", f"{path.name} {path.read_bytes().decode('latin-1')}")
                self.add(f"{place}: {path.name}", path.read_bytes().decode("utf-8", "replace"))

    def leaks(self, way: str, secrets: Secrets) -> Iterator[Leak]:
        """What of it shows a secret."""
        for place, text in self.texts:
            if kinds := secrets.found_in(text):
                at = min(text.find(form) for kind in kinds for form in _forms(secrets.values[kind]) if form in text)
                yield Leak(way, place, kinds, repr(text[max(at - 80, 0) : at + 60]))


class Log(logging.Handler):
    """What programs with their own handlers see of each record: the text, the arguments, an exception with locals."""

    def __init__(self, exits: Exits) -> None:
        super().__init__()
        self._exits = exits

    def emit(self, record: logging.LogRecord) -> None:
        self._exits.add(f"log {record.levelname} {record.name}", f"{self.format(record)} {record.msg} {record.args!r}")
        if record.exc_info and record.exc_info[1] is not None:
            self._exits.add_error(record.exc_info[1])


class _Headers(CallHook):
    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "<Headers>"

    async def before(self, call: ToolCall) -> ToolCall:
        return call.with_headers(X_Call_Key=self._value)


def _quoted(server: RawServer) -> str:
    """What it was sent, as a careless server writes it."""
    headers = {name: value.decode("utf-8", "replace") for name, value in server.headers.items()}
    said = [server.target.decode(), str(headers), json.dumps(headers), headers.get("x-key", "")]
    for name in ("authorization", "proxy-authorization"):
        with suppress(ValueError):
            token = headers.get(name, "").partition(" ")[2]
            said += [token, base64.b64decode(token, validate=True).decode("utf-8", "replace")]
    return " ".join(said)


def _one_line(text: str) -> bytes:
    return re.sub(r"[\r\n]", " ", text).encode("utf-8")


def _error(message: dict[str, Any], server: RawServer) -> bytes:
    words = _quoted(server)
    error = {"code": -32000, "message": f"bad request: {words}", "data": {"request": [words]}}
    return json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "error": error}).encode()


Write = Callable[[RawServer, dict[str, Any]], bytes]

WAYS: dict[str, Write] = {
    "status": lambda s, _: whole(_quoted(s).encode(), 500, "text/plain"),
    "status 400": lambda s, _: whole(json.dumps({"error": _quoted(s)}).encode(), 400),
    "error in a status": lambda s, m: whole(_error(m, s), 400),
    "error": lambda s, m: whole(_error(m, s)),
    "error of nobody": lambda s, _: whole(_error({"id": "nobody"}, s)),
    "refused": lambda s, _: whole(
        _quoted(s).encode(), 401, "text/plain", b"WWW-Authenticate: Bearer " + _one_line(_quoted(s))
    ),
    "scope": lambda s, _: whole(
        b"",
        403,
        "text/plain",
        b'WWW-Authenticate: Bearer error="insufficient_scope", scope="'
        + _one_line(_quoted(s)).replace(b'"', b"'")
        + b'"',
    ),
    "reason": lambda s, _: b"HTTP/1.1 502 " + _one_line(_quoted(s)) + b"\r\nContent-Length: 0\r\n\r\n",
    "header": lambda s, _: whole(
        b"", 503, "text/plain", b"X-Echo: " + _one_line(_quoted(s)), b"Retry-After: " + _one_line(_quoted(s))
    ),
    "media type": lambda s, _: whole(b"{}", 200, _one_line(_quoted(s)).decode("latin-1").replace(";", " ")),
    "redirect": lambda s, _: whole(b"", 307, "text/plain", b"Location: http://localhost:9" + s.target),
    "redirect home": lambda s, _: whole(b"", 307, "text/plain", b"Location: " + s.target + b"&again=1"),
    "cut": lambda s, _: head(200) + b"\r\nContent-Length: 5000\r\n\r\n" + _quoted(s).encode(),
    "no http": lambda s, _: _quoted(s).encode() + b"\r\n\r\n",
    "no json": lambda s, _: whole(_quoted(s).encode()),
    "half a message": lambda s, m: whole(
        b'{"jsonrpc": "2.0", "id": %d, "result": {"content": "' % m.get("id", 0) + _quoted(s).encode()
    ),
    "odd result": lambda s, m: whole(
        result(m, {"content": [{"type": _quoted(s)}, {"type": "text"}], "isError": _quoted(s)})
    ),
    "bad schema": lambda s, m: whole(
        result(m, {_quoted(s): 1, "protocolVersion": _quoted(s), "tools": {_quoted(s): 1}})
    ),
    "events": lambda s, m: whole(b"id: " + _one_line(_quoted(s)) + b"\ndata: " + _error(m, s) + b"\n\n", 200, EVENTS),
    "odd events": lambda s, _: whole(
        b"event: " + _one_line(_quoted(s)) + b"\ndata: " + _one_line(_quoted(s)) + b"\n\n", 200, EVENTS
    ),
    "session id": lambda s, m: whole(_error(m, s), 404, "application/json"),
}
"""What an HTTP server writes in place of its answer."""

LISTED = ("odd listing", "tool error", "result", "flawed result")
AWAY = ("nobody there", "no such host", "no tls", "proxy", "proxy away", "odd header", "bad certificate file")

CHILD = """
import json, os, sys
way, env = sys.argv[1], {name: value for name, value in os.environ.items() if name.startswith("FUZZ_")}
words = f"{env} {json.dumps(env)} {sys.argv[2:]} " + " ".join(env.values())
if way == "exits": sys.exit(words)
if way == "raises": raise RuntimeError(words)
if way == "prints": print(words, flush=True)
if way == "floods": print("x" * 70000 + words, file=sys.stderr, flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "initialize":
        about = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        about["serverInfo"] = {"name": "x", "version": "1"}
        answer["result"] = {**about, "instructions": words if way == "tells" else ""}
        if way == "refuses": answer = {**answer, "error": {"code": -32000, "message": words}}; del answer["result"]
    elif message["method"] == "tools/list":
        tool = {"name": "work", "inputSchema": {"type": "object"}, "description": words if way == "tells" else ""}
        answer["result"] = {"tools": [tool]}
    elif way == "fails": answer["error"] = {"code": -1, "message": words, "data": words}
    elif way == "dies": print(words, file=sys.stderr, flush=True); os._exit(3)
    elif way == "dies cut": print("x" * 65520 + words, file=sys.stderr, flush=True); os._exit(3)
    elif way == "garbles":
        print('{"jsonrpc": "2.0", "id": %d, "result": {"a": "%s' % (message["id"], words), flush=True)
        continue
    else: answer["result"] = {"content": [{"type": "text", "text": words}], "isError": way == "tool error"}
    print(json.dumps(answer), flush=True)
"""
CHILDREN = (
    *(
        "exits",
        "raises",
        "prints",
        "floods",
        "tells",
        "refuses",
        "fails",
        "dies",
        "dies cut",
        "garbles",
        "tool error",
        "result",
    ),
    *("no command", "no folder"),
)

_spans = InMemorySpanExporter()


def watch_spans() -> None:
    """Collect the spans of this process from now on."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_spans))
    trace.set_tracer_provider(provider)


@dataclass(frozen=True)
class Case:
    """One way to fail, over one transport, at one moment."""

    transport: str
    way: str
    at: str = "tools/call"
    auth: str = "none"

    def __str__(self) -> str:
        return f"{self.transport}, {self.way} at {self.at}, auth {self.auth}"


def cases() -> list[Case]:
    """All of them."""
    return [
        *(Case("stdio", way) for way in CHILDREN),
        *(
            Case(line, way, at, auth)
            for line in ("http", "sse")
            for way in (*WAYS, *LISTED)
            for at in ("initialize", "tools/list", "tools/call")
            for auth in ("none", "bearer", "basic", "oauth")
            if way not in LISTED or at == "tools/call"
        ),
        *(
            Case(line, way, "opening", auth)
            for line in ("http", "sse")
            for way in AWAY
            for auth in ("none", "basic", "oauth")
        ),
        *(Case("http", way, "renewal", "oauth") for way in WAYS),
    ]


class Fuzz:
    """Runs cases in this process.

    Args:
        seed: Of the dice.
        folder: For the catalog and the state; each case has its own in there.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self._dice = random.Random(seed)
        self._folder = folder
        self._runs = 0
        self.texts = 0
        """How many texts were searched."""

    async def run(self, case: Case) -> list[Leak]:
        """Run one case; what leaked."""
        self._runs += 1
        folder = self._folder / str(self._runs)
        os.environ["JACKFIELD_STATE_DIR"], os.environ["JACKFIELD_CACHE_DIR"] = (
            str(folder / "state"),
            str(folder / "cache"),
        )
        secrets, exits = Secrets(self._dice), Exits()
        root, log = logging.getLogger(), Log(exits)
        level = root.level
        root.addHandler(log)
        root.setLevel(logging.DEBUG)
        asyncio.get_running_loop().set_debug(True)
        _spans.clear()
        try:
            await (self._child if case.transport == "stdio" else self._remote)(case, secrets, exits, folder)
        finally:
            root.removeHandler(log)
            root.setLevel(level)
        for span in _spans.get_finished_spans():
            exits.add("span", span.to_json())
        exits.add_files("catalog", folder / "cache")
        exits.add_files("state", folder / "state")
        self.texts += len(exits.texts)
        return list(exits.leaks(str(case), secrets))

    async def _child(self, case: Case, secrets: Secrets, exits: Exits, folder: Path) -> None:
        args = [
            "-c",
            CHILD,
            case.way,
            "--api-key",
            secrets.new("option", plain=True),
            f"--password={secrets.new('password', plain=True)}",
        ]
        args += [
            "-e",
            f"SOME_TOKEN={secrets.new('given', plain=True)}",
            f"postgres://u:{quote(secrets.new('dsn'), safe='')}@h/db",
        ]
        config = StdioConfig(
            server_name="fuzzed",
            command="/nonexistent/command" if case.way == "no command" else sys.executable,
            args=args,
            environment={
                "FUZZ_KEY": secrets.new("env"),
                "FUZZ_OTHER": secrets.new("variable"),
                "FUZZ_MODE": "production",
            },  # type: ignore[dict-item]
            working_dir=Path("/nonexistent") if case.way == "no folder" else None,
            session=_QUICK,
        )
        await self._use(case, config, secrets, exits)

    async def _remote(self, case: Case, secrets: Secrets, exits: Exits, folder: Path) -> None:
        async def odd(server: RawServer, message: dict[str, Any], writer: asyncio.StreamWriter) -> bool | None:
            method = message.get("method")
            if server.target.startswith(b"/token"):
                writer.write(WAYS[case.way](server, message) if case.at == "renewal" else whole(b"{}", 400))
            elif case.way in LISTED and method in ("tools/list", "tools/call"):
                writer.write(_listed(case.way, server, message))
            elif method == case.at and case.way in WAYS:
                writer.write(WAYS[case.way](server, message))
            elif case.way == "proxy" and method == "tools/call":
                writer.write(WAYS["status"](server, message))
            else:
                return None
            return case.way not in ("cut", "no http")

        async with RawServer(odd, sse=case.transport == "sse") as server:
            with _Environment(case, secrets, server):
                await self._use(case, await self._remote_config(case, secrets, server), secrets, exits)

    async def _remote_config(self, case: Case, secrets: Secrets, server: RawServer) -> HttpConfig | SseConfig:
        host = server.url.removeprefix("http://")
        host = {"nobody there": "127.0.0.1:9", "no such host": "nowhere.invalid"}.get(case.way, host)
        scheme = "https" if case.way in ("no tls", "bad certificate file") else "http"
        user = f"user:{quote(secrets.new('password'), safe='')}@" if case.auth == "basic" else ""
        query = f"api_key={quote(secrets.new('query'), safe='')}&project=production"
        url = f"{scheme}://{user}{host}/{case.transport}?{query}#{quote(secrets.new('fragment'), safe='')}"
        headers = {"X-Key": secrets.new("header", plain=True), "X-Other": secrets.new("more", plain=True)}
        if case.way == "odd header":
            headers["X-Odd"] = (
                secrets.new("odd") + self._dice.choice(["\n", "\0", "\r\nX: y", "ü€", ""]) + secrets.new("end")
            )
        if case.auth == "bearer":
            headers["Authorization"] = f"Bearer {secrets.new('token', plain=True)}"
        kind = HttpConfig if case.transport == "http" else SseConfig
        config = kind(
            server_name="fuzzed",
            url=url,
            headers=headers,  # type: ignore[arg-type]
            session=_QUICK,
            protocol="handshake",
            timeout=3,
            verify=Path(__file__) if case.way == "bad certificate file" else True,
            auth={"client_id": "me", "client_secret": secrets.new("client", plain=True)}
            if case.auth == "oauth"
            else None,
        )
        if case.auth == "oauth":
            await self._sign_in(case, config, secrets, server)
        return config

    async def _sign_in(self, case: Case, config: HttpConfig | SseConfig, secrets: Secrets, server: RawServer) -> None:
        metadata = {
            "issuer": server.url,
            "authorization_endpoint": f"{server.url}/authorize",
            "token_endpoint": f"{server.url}/token",
        }
        credentials = Credentials(
            server_url=config.address,
            access_token=secrets.new("access", plain=True),
            refresh_token=secrets.new("refresh", plain=True),
            client_secret=secrets.values["client"],
            expires_at=1.0 if case.at == "renewal" else None,
            client={
                "client_id": "me",
                "redirect_uris": ["http://127.0.0.1/callback"],
                "token_endpoint_auth_method": "client_secret_post",
            },
            authorization_server={**metadata, "response_types_supported": ["code"]},
        )
        store = CredentialStore(config)
        async with store.locked():
            await store.write(credentials)

    async def _use(self, case: Case, config: Any, secrets: Secrets, exits: Exits) -> None:
        for shown in (config, MCPConfig(servers=[config]), config.model_dump_json(), config.address):
            exits.add("config", repr(shown))
        exits.add("dump", MCPConfig(servers=[config]).to_portable())
        events: list[Any] = []
        hook = _Headers(secrets.new("call", plain=True))
        manager = MCPClientSessionManager(on_event=events.append, hooks=[hook])
        try:
            async with manager, manager.open_session(config) as session:
                exits.add(
                    "repr",
                    f"{session!r} {(owner := session._owner)!r} {owner.connection!r} {vars(owner.connection.report)!r}",
                )
                for _ in range(2):
                    answer = await session.call_tool("work", {}, call_timeout=3)
                    exits.add("problems", answer.problems)
                    if case.way == "result" and not secrets.found_in(answer.text):
                        raise AssertionError("a result did not come through as it is")
                    answer.raise_for_error()
        except JackfieldError as error:
            exits.add_error(error)
        for event in events:
            exits.add(f"event {type(event).__name__}", repr(event))
            if (error := getattr(event, "error", None)) is not None:
                exits.add_error(error)
        exits.add("repr", f"{manager!r} {manager.stats()!r}")


_QUICK = SessionConfig(timeout=4, call_timeout=3, retry_attempts=1, retry_delay=0.01, close_timeout=1, probe_timeout=1)


def _listed(way: str, server: RawServer, message: dict[str, Any]) -> bytes:
    words = _quoted(server)
    if message["method"] == "tools/list":
        tool: dict[str, Any] = {"name": "work", "inputSchema": {"type": "object"}}
        if way == "odd listing":
            tool |= {"description": words, "title": words, "annotations": {"title": words, words: 1}}
            return whole(
                result(message, {"tools": [tool, {"name": words, "inputSchema": words}, words], "nextCursor": words})
            )
        return whole(result(message, {"tools": [tool]}))
    block: Any = {"type": "text", "text": words}
    return whole(
        result(
            message,
            {
                "content": [block, words, {"type": words}] if way == "flawed result" else [block],
                "isError": way == "tool error",
            },
        )
    )


class _Environment:
    """The variables of a case with a proxy."""

    def __init__(self, case: Case, secrets: Secrets, server: RawServer) -> None:
        self._names = {}
        if case.way.startswith("proxy"):
            host = "127.0.0.1:9" if case.way == "proxy away" else server.url.removeprefix("http://")
            self._names = {"http_proxy": f"http://user:{quote(secrets.new('proxy'), safe='')}@{host}", "no_proxy": ""}

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._names}
        os.environ.update(self._names)

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
