"""Two instances of a server on one store, over real HTTP, and clients that speak to either by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import CodeType
from typing import Any
from uuid import uuid4

import anyio
import httpx2
import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.shared.message import ServerMessageMetadata
from pydantic import BaseModel, ConfigDict
from tests.serving.authorized import all_listening, answer_of, until
from tests.serving.contract.conftest import Engine

from jackfield.serving import ServedSessions, serve_sessions, state

ACCEPT = "application/json, text/event-stream"
VERSION = "2025-11-25"


class Anything(BaseModel):
    """A result of any shape."""

    model_config = ConfigDict(extra="allow")


class Talk:
    """What a test and the handlers of both instances share."""

    def __init__(self) -> None:
        self.opened = anyio.Event()
        self.running = 0
        self.runs: list[str] = []
        self.cancelled: list[str] = []
        self.closed: list[str] = []
        self.heard: list[tuple[float, float | None, str | None]] = []
        self.lifespans = 0


_described: dict[CodeType, Tool] = {}


def described(function: Callable[..., Any]) -> Tool:
    """The tool of a function that is made for each server, with what the SDK reads from its signature only once."""
    known = _described.get(function.__code__)
    if known is None:
        known = _described[function.__code__] = Tool.from_function(function)
    return known.model_copy(update={"fn": function})


def talkative(talk: Talk, name: str, **options: Any) -> MCPServer[Any]:
    """A server whose tools send all that a server can send."""
    tools: list[Tool] = []

    def tool(function: Callable[..., Any]) -> None:
        tools.append(described(function))

    @tool
    async def where() -> str:
        """The instance that ran it."""
        return name

    @tool
    async def echo(value: Any) -> list[Any]:
        """What it is given."""
        return [value]

    @tool
    async def capabilities(ctx: Context[Any, Any]) -> str:
        """What the client said of itself."""
        params = ctx.session.client_params
        assert params is not None
        kept = params.capabilities.model_dump(exclude_none=True, by_alias=True)
        return json.dumps([params.client_info.name, ctx.session.protocol_version, sorted(kept)])

    @tool
    async def wait(ctx: Context[Any, Any], tag: str = "", progress: bool = True) -> str:
        """Waits until the test lets it go on."""
        talk.running += 1
        talk.runs.append(f"{tag}@{name}")
        try:
            if progress:
                await ctx.report_progress(1, 2)
            await talk.opened.wait()
        except anyio.get_cancelled_exc_class():
            talk.cancelled.append(f"{tag}@{name}")
            raise
        finally:
            talk.running -= 1
        return f"{tag} went on"

    @tool
    async def count(ctx: Context[Any, Any], times: int, size: int = 0, pause: float = 0.0) -> str:
        """Reports progress so many times."""
        for number in range(times):
            await ctx.report_progress(number + 1, times, "x" * size)
            if pause:
                await anyio.sleep(pause)
        return f"counted to {times}"

    @tool
    async def log(ctx: Context[Any, Any], texts: list[list[str]], alone: bool = False) -> str:
        """Sends log messages, each of a level and a text."""
        for level, text in texts:
            params = types.LoggingMessageNotificationParams(level=level, data=text)  # type: ignore[arg-type]
            message = types.LoggingMessageNotification(params=params)
            await ctx.session.send_notification(message, None if alone else ctx.request_id)
        return "logged"

    @tool
    async def ask(
        ctx: Context[Any, Any], method: str, params: dict[str, Any], alone: bool = False, seconds: float | None = None
    ) -> str:
        """Asks the client, on this request's stream or on the standalone one."""
        kinds: dict[str, tuple[Any, Any]] = {
            "sampling/createMessage": (types.CreateMessageRequest, types.CreateMessageRequestParams),
            "elicitation/create": (types.ElicitRequest, types.ElicitRequestFormParams),
            "roots/list": (types.ListRootsRequest, None),
            "ping": (types.PingRequest, None),
        }
        kind, params_kind = kinds[method]
        request = kind() if params_kind is None else kind(params=params_kind.model_validate(params))

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            talk.heard.append((progress, total, message))
            if message == "fail":
                raise RuntimeError("This callback fails.")

        metadata = None if alone else ServerMessageMetadata(related_request_id=ctx.request_id)
        talk.running += 1
        try:
            answer = await ctx.session.send_request(
                request, Anything, seconds, metadata=metadata, progress_callback=on_progress
            )
        finally:
            talk.running -= 1
        return json.dumps(answer.model_dump(exclude_none=True), sort_keys=True)

    @tool
    async def reconnect(ctx: Context[Any, Any]) -> str:
        """Closes its own connection, and goes on."""
        await ctx.report_progress(1, 2)
        await ctx.close_sse_stream()
        await talk.opened.wait()
        return "after the close"

    @tool
    async def close_alone(ctx: Context[Any, Any]) -> str:
        """Closes the standalone connection."""
        await ctx.close_standalone_sse_stream()
        return "closed"

    @tool
    async def changed(ctx: Context[Any, Any], uri: str | None = None) -> str:
        """Publishes a change of the tools or of a resource."""
        await (ctx.notify_tools_changed() if uri is None else ctx.notify_resource_updated(uri))
        return "published"

    @tool
    async def add_up(ctx: Context[Any, Any], number: int) -> int:
        """The sum of all numbers of this session."""
        total = int(str(await state(ctx).get("total", 0))) + number
        await state(ctx).set("total", total)
        return total

    @tool
    async def fail() -> str:
        """Fails."""
        raise RuntimeError("This tool fails.")

    server: MCPServer[Any] = MCPServer("talkative", log_level="ERROR", tools=tools, **options)
    low_level = server_of(server)

    @server.resource("note://one")
    async def note() -> str:
        """A note."""
        return "note"

    async def clean_up(ctx: Any, params: types.PaginatedRequestParams) -> types.EmptyResult:
        # The SDK has no other public way to a request's connection.
        ctx.session._connection.exit_stack.callback(talk.closed.append, name)
        return types.EmptyResult()

    async def raise_odd(ctx: Any, params: types.PaginatedRequestParams) -> types.EmptyResult:
        raise RuntimeError("An odd failure.")

    low_level.add_request_handler("test/cleanUp", types.PaginatedRequestParams, clean_up)
    low_level.add_request_handler("test/raise", types.PaginatedRequestParams, raise_odd)
    return server


def server_of(server: MCPServer[Any]) -> Any:
    """The low-level server, by its public way."""
    server.streamable_http_app()
    return server.session_manager.app


class Stream:
    """An event stream as it arrives."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.last_id: str | None = None
        self.ids: list[str] = []
        self.retry: str | None = None
        self._lines: AsyncIterator[str] = response.aiter_lines()

    async def next(self, seconds: float = 10.0) -> dict[str, Any] | None:
        """The next message; `None` where the stream is over."""
        with anyio.fail_after(seconds):
            event_id, data = None, []
            async for line in self._lines:
                if line.startswith("id: "):
                    event_id = line[4:]
                elif line.startswith("data:"):
                    data.append(line[5:].strip())
                elif line.startswith("retry: "):
                    self.retry = line[7:]
                elif not line and data:
                    if event_id is not None:
                        self.last_id = event_id
                        self.ids.append(event_id)
                    if "".join(data):
                        return json.loads("\n".join(data))
                    event_id, data = None, []
            return None

    async def begin(self) -> str:
        """Read up to the first id, which comes before all messages."""
        with anyio.fail_after(10):
            async for line in self._lines:
                if line.startswith("id: "):
                    self.last_id = line[4:]
                    self.ids.append(self.last_id)
                elif line.startswith("retry: "):
                    self.retry = line[7:]
                if not line and self.last_id is not None:
                    return self.last_id
        raise AssertionError("The stream ended before it began.")

    async def rest(self) -> list[dict[str, Any]]:
        """All messages to its end."""
        messages: list[dict[str, Any]] = []
        while (message := await self.next()) is not None:
            messages.append(message)
        return messages

    async def answer(self) -> dict[str, Any]:
        """The answer, with which it ends."""
        return (await self.rest())[-1]


class Session:
    """One session of a client that speaks JSON-RPC over HTTP by hand, to any instance."""

    def __init__(self, http: httpx2.AsyncClient, session_id: str, version: str = VERSION) -> None:
        self.http = http
        self.id = session_id
        self.version = version

    def headers(self, **more: str | None) -> dict[str, str]:
        """Those of each request; `None` leaves one out."""
        given = {
            "accept": ACCEPT,
            "content-type": "application/json",
            "mcp-session-id": self.id,
            "mcp-protocol-version": self.version,
        }
        all_headers = given | {name.replace("_", "-"): value for name, value in more.items()}
        return {name: value for name, value in all_headers.items() if value is not None}

    async def post(self, url: str, message: Mapping[str, Any], **headers: str | None) -> httpx2.Response:
        """Post one message."""
        body = json.dumps({"jsonrpc": "2.0", **message})
        return await self.http.post(url, content=body, headers=self.headers(**headers))

    async def request(
        self, url: str, method: str, params: Mapping[str, Any] | None = None, *, number: int | str | None = None
    ) -> dict[str, Any]:
        """Post a request; gives its answer, however it comes."""
        response = await self.post(url, _request(method, params, number))
        assert response.status_code == 200, response.text
        return answer_of(response.text)

    async def call(self, url: str, tool: str, *, number: int | str | None = None, **arguments: Any) -> str:
        """Call a tool; gives its text."""
        answer = await self.request(url, "tools/call", {"name": tool, "arguments": arguments}, number=number)
        assert not answer["result"].get("isError"), answer
        return answer["result"]["content"][0]["text"]

    @asynccontextmanager
    async def calling(
        self, url: str, tool: str, *, number: int | str | None = None, token: int | str | None = None, **arguments: Any
    ) -> AsyncGenerator[Stream]:
        """Call a tool and read what comes."""
        meta = {} if token is None else {"_meta": {"progressToken": token}}
        message = _request("tools/call", {"name": tool, "arguments": arguments, **meta}, number)
        body = json.dumps({"jsonrpc": "2.0", **message})
        async with self.http.stream("POST", url, content=body, headers=self.headers()) as response:
            assert response.status_code == 200, await response.aread()
            yield Stream(response)

    @asynccontextmanager
    async def reading(self, url: str, after: str | None = None, **headers: str | None) -> AsyncGenerator[Stream]:
        """Read a stream by GET."""
        sent = self.headers(last_event_id=after, content_type=None, **headers)
        async with self.http.stream("GET", url, headers=sent) as response:
            yield Stream(response)

    async def get_status(self, url: str, after: str | None = None, **headers: str | None) -> tuple[int, str]:
        """The status of a GET, and its text where that is an error."""
        async with self.reading(url, after, **headers) as stream:
            status = stream.response.status_code
            return status, "" if status == 200 else (await stream.response.aread()).decode()

    async def delete(self, url: str) -> int:
        """End the session; gives the status."""
        response = await self.http.delete(url, headers=self.headers(content_type=None))
        return response.status_code

    async def answer(self, url: str, request: Mapping[str, Any], result: Mapping[str, Any]) -> int:
        """Answer a request of the server; gives the status."""
        return (await self.post(url, {"id": request["id"], "result": result})).status_code

    async def notify(self, url: str, method: str, params: Mapping[str, Any] | None = None) -> int:
        """Post a notification; gives the status."""
        return (await self.post(url, {"method": method, "params": params or {}})).status_code


def _request(method: str, params: Mapping[str, Any] | None, number: int | str | None) -> dict[str, Any]:
    return {"id": uuid4().hex if number is None else number, "method": method, "params": dict(params or {})}


class Two:
    """Two instances, `a` and `b`."""

    def __init__(
        self, served: list[ServedSessions], urls: list[str], http: httpx2.AsyncClient, talk: Talk, names: list[str]
    ) -> None:
        self.served = served
        self.urls = urls
        self.a, self.b = urls
        self.http = http
        self.talk = talk
        self.names = names

    async def session(
        self,
        url: str | None = None,
        *,
        version: str = VERSION,
        capabilities: Mapping[str, Any] | None = None,
    ) -> Session:
        """Open a session."""
        all_capabilities = {"elicitation": {}, "sampling": {}, "roots": {}}
        params = {
            "protocolVersion": version,
            "capabilities": all_capabilities if capabilities is None else capabilities,
            "clientInfo": {"name": "by hand", "version": "1"},
        }
        opening = Session(self.http, "")
        response = await opening.post(
            url or self.a, _request("initialize", params, 0), mcp_session_id=None, mcp_protocol_version=None
        )
        assert response.status_code == 200, response.text
        session = Session(self.http, response.headers["mcp-session-id"], version)
        assert await session.notify(url or self.a, "notifications/initialized") == 202
        return session

    async def idle(self) -> None:
        """Wait until nothing runs or is read on either instance."""
        for one in self.served:
            await until(lambda one=one: one.host.instance.is_idle)
            await until(lambda one=one: _no_calls(one))


async def _no_calls(served: ServedSessions) -> bool:
    return not await served.host.sessions.running_on(served.host.instance.name)


@asynccontextmanager
async def two(
    engine: Engine,
    *,
    make: Callable[[Talk, str], Any] = talkative,
    checks_idle: bool = True,
    **options: Any,
) -> AsyncGenerator[Two]:
    """Two instances on one store; options of `serve_sessions`."""
    talk = Talk()
    served = [serve_sessions(make(talk, name), engine.backend(), **options) for name in "ab"]
    async with AsyncExitStack() as stack:
        urls = [f"{url}/mcp" for url in await stack.enter_async_context(all_listening(served))]
        limits = httpx2.Limits(max_connections=None)
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=30, limits=limits))
        both = Two(served, urls, http, talk, ["a", "b"])
        yield both
        talk.opened.set()
        if checks_idle:
            await both.idle()


@asynccontextmanager
async def both_of(engine: Engine, **options: Any) -> AsyncGenerator[Two]:
    """The same, for a fixture, whose halves run in two tasks: a task group has to end in the one that it began in."""
    started: asyncio.Future[Two] = asyncio.get_running_loop().create_future()
    is_over = asyncio.Event()

    async def run() -> None:
        async with two(engine, **options) as both:
            started.set_result(both)
            await is_over.wait()

    task = asyncio.create_task(run())
    await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
    try:
        yield await (started if started.done() else task)  # type: ignore[misc]
    finally:
        is_over.set()
        await task
