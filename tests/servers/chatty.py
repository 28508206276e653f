"""A server that asks and tells its client everything that the protocol has, in both eras, and keeps state for each
session. What it sends has keys that no model knows.

    chatty.py stdio | http [--log FILE]

Every call that is begun, and every one that is cancelled, goes to the log, a line each. Over HTTP its address is
printed first.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import anyio
import uvicorn
from mcp import MCPError
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    InMemorySubscriptionBus,
    ListenHandler,
    ResourceUpdated,
)
from mcp.shared.message import ServerMessageMetadata
from mcp.types import (
    CLIENT_CAPABILITIES_META_KEY,
    INVALID_PARAMS,
    LOG_LEVEL_META_KEY,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
)
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

FORM = {"type": "object", "properties": {"name": {"type": "string"}}}
QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "form": ("elicitation/create", {"mode": "form", "message": "Who?", "requestedSchema": FORM, "own": {"a": None}}),
    "url": (
        "elicitation/create",
        {"mode": "url", "message": "Sign in", "url": "https://x.example", "elicitationId": "e1"},
    ),
    "sampling": (
        "sampling/createMessage",
        {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 10, "own": 1},
    ),
    "roots": ("roots/list", {"own": True}),
}
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
TOOLS = (
    "remember",
    "recall",
    "ask",
    "say",
    "steps",
    "touch",
    "wait",
    "pause",
    "complete",
    "capabilities",
    "level",
    "fail",
    "process",
    "end",
    "begin",
    "finish",
)
CAPABILITIES = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {},
    "logging": {},
    "completions": {},
}
TASKS = "io.modelcontextprotocol/tasks"
RESTLESS = "notes://restless"
"""Changes as soon as someone hears of it."""
URIS = ("notes://one", RESTLESS)

Context = Any
Params = Mapping[str, Any]


class Message:
    """Goes out as it is."""

    name_param: ClassVar[str | None] = None
    method = ""

    def __init__(self, method: str, params: Params | None) -> None:
        self._data = {"method": method} if params is None else {"method": method, "params": dict(params)}

    def model_dump(self, **_: object) -> dict[str, Any]:
        return self._data


class Result:
    """Comes in as it is."""

    @classmethod
    def model_validate(cls, raw: dict[str, Any], **_: object) -> dict[str, Any]:
        return raw


class Session:
    """What is kept for one session; for all of the process where there are none."""

    def __init__(self) -> None:
        self.value: Any = None
        self.level: str | None = None
        self.subscribed: set[str] = set()
        self.context: Context = None
        self.said: Params = {}
        self.runs: Counter[str] = Counter()


class Chatty:
    def __init__(self, log_file: str | None) -> None:
        self._log_file = log_file
        self._bus = InMemorySubscriptionBus()
        self._sessions: dict[str, Session] = {}
        self._tasks: dict[str, list[Any]] = {}
        """The streams that hear of each task, by its id."""
        self.server: Server[Any] = Server("chatty", version="1", on_subscriptions_listen=ListenHandler(self._bus))
        self.server.middleware.append(self)

    def _log(self, line: str) -> None:
        if self._log_file is not None:
            with open(self._log_file, "a") as file:
                file.write(line + "\n")

    async def _publish_soon(self) -> None:
        await anyio.sleep(0.2)
        await self._bus.publish(ResourceUpdated(uri=RESTLESS))

    def _session(self, ctx: Context) -> Session:
        name = "" if ctx.request is None else ctx.request.headers.get("mcp-session-id", "")
        session = self._sessions.setdefault(name, Session())
        session.context = ctx
        return session

    async def __call__(self, ctx: Context, call_next: Any) -> Any:
        is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        if ctx.method == "initialize":
            # Over HTTP there is no session yet.
            self._session(ctx).said = ctx.params or {}
        if ctx.method in ("initialize", "server/discover"):
            return {**await call_next(ctx), "capabilities": CAPABILITIES}
        if ctx.request_id is None:
            if ctx.method == "notifications/roots/list_changed":
                self._log("roots changed")
            return await call_next(ctx)
        if ctx.method in ("ping", "subscriptions/listen"):
            if task_ids := ((ctx.params or {}).get("notifications") or {}).get("taskIds"):
                return await self._tell_of_tasks(ctx, task_ids)
            if RESTLESS in ((ctx.params or {}).get("notifications") or {}).get("resourceSubscriptions", ()):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._publish_soon)
                    return await call_next(ctx)
            return await call_next(ctx)
        result = await self._answer(ctx, dict(ctx.params or {}))
        if is_modern and "resultType" not in result:
            result = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **result}
        return result

    async def _answer(self, ctx: Context, params: dict[str, Any]) -> dict[str, Any]:
        session = self._session(ctx)
        match ctx.method:
            case "tools/list":
                return {"tools": [{"name": name, "inputSchema": {"type": "object"}, "own": 1} for name in TOOLS]}
            case "prompts/list":
                return {"prompts": [{"name": "asking"}]}
            case "resources/list":
                return {"resources": [{"uri": uri, "name": uri} for uri in (*URIS, "asking://form")]}
            case "resources/templates/list":
                return {"resourceTemplates": []}
            case "tools/call":
                return await self._call(ctx, session, params["name"], params.get("arguments") or {})
            case "prompts/get":
                answer = await self._asked(ctx, "form")
                if "resultType" in answer:
                    return answer
                return {"messages": [{"role": "user", "content": {"type": "text", "text": json.dumps(answer)}}]}
            case "resources/read":
                uri = params["uri"]
                answer = await self._asked(ctx, "form") if uri == "asking://form" else session.value
                if isinstance(answer, dict) and "resultType" in answer:
                    return answer
                return {"contents": [{"uri": uri, "text": json.dumps(answer)}], "own": None}
            case "completion/complete":
                return {"completion": {"values": [f"{params['argument']['value']}!"]}}
            case "logging/setLevel":
                session.level = params["level"]
                return {}
            case "resources/subscribe":
                if params["uri"] not in URIS:
                    raise MCPError(-32002, "No such resource", {"uri": params["uri"]})
                session.subscribed.add(params["uri"])
                self._log(f"subscribe {params['uri']}")
                if params["uri"] == RESTLESS:
                    await self._tell(ctx, "notifications/resources/updated", {"uri": RESTLESS}, related=False)
                return {}
            case "resources/unsubscribe":
                session.subscribed.discard(params["uri"])
                self._log(f"unsubscribe {params['uri']}")
                return {}
        raise MCPError(-32601, "Method not found", ctx.method)

    async def _call(self, ctx: Context, session: Session, name: str, given: Params) -> dict[str, Any]:
        if "requestState" not in (ctx.params or {}):
            self._log(f"run {name} {given.get('id', '')}")
        match name:
            case "remember":
                session.value = given["value"]
                return text("ok")
            case "recall":
                return text(session.value)
            case "ask":
                return await self._ask(ctx, session, given)
            case "say":
                for number in range(given.get("times", 1)):
                    await self._say(ctx, session, given["level"], f"{given['text']} {number}")
                return text("said")
            case "pause":
                await anyio.sleep(given["seconds"])
                return text(given["tag"])
            case "steps":
                token = ((ctx.params or {}).get("_meta") or {}).get("progressToken")
                for step in range(given["count"]):
                    if token is not None:
                        params = {"progressToken": token, "progress": step + 1, "total": given["count"], "own": [step]}
                        params |= {"message": given["tag"]} if "tag" in given else {}
                        await self._tell(ctx, "notifications/progress", params)
                return text(f"{given['count']} steps")
            case "touch":
                return await self._touch(ctx, session, given["uri"])
            case "wait":
                try:
                    self._log(f"waiting {given.get('id', '')}")
                    await anyio.sleep_forever()
                finally:
                    self._log(f"cancelled {given.get('id', '')}")
            case "complete":
                await self._tell(ctx, "notifications/elicitation/complete", {"elicitationId": given["id"], "own": 1})
                return text("completed")
            case "capabilities":
                return text(self._capabilities(ctx))
            case "level":
                return text(self._level(ctx, session))
            case "process":
                return text(os.getpid())
            case "end":
                os._exit(0)
            case "begin":
                self._tasks[given["id"]] = []
                return {"resultType": "task", "taskId": given["id"], "status": "working"}
            case "finish":
                return await self._finish(given["id"])
            case "fail":
                raise MCPError(-32042, " own\nwords ", {"own": [None, 1.0]})
        raise MCPError(INVALID_PARAMS, f"Unknown tool: {name}")

    async def _ask(self, ctx: Context, session: Session, given: Params) -> dict[str, Any]:
        if given.get("hears"):
            return text(await self._hearing(ctx, given["kinds"][0]))
        if given.get("together"):
            return text(await self._together(ctx, given["kinds"]))
        if "meanwhile" in given:
            return text(await self._talking(ctx, session, given["kinds"][0], given["meanwhile"]))
        if "seconds" in given:
            with anyio.move_on_after(given["seconds"]):
                return text(await self._asked(ctx, given["kinds"][0]))
            self._log("gave up")
            return text("nobody answered")
        answers: list[Any] = []
        process_id, state = json.loads((ctx.params or {}).get("requestState") or f"[{os.getpid()}, []]")
        if process_id != os.getpid():
            raise MCPError(INVALID_PARAMS, "A state of another process")
        for number, kind in enumerate(given["kinds"]):
            if number < len(state):
                answers.append(state[number])
                continue
            tag = {"tag": given["tag"]} if "tag" in given else {}
            answer = await self._asked(ctx, kind, tag, state=answers, is_first=number == len(state))
            if "resultType" in answer:
                return answer
            answers.append(answer)
        if "then" in given:
            return await self._call(ctx, session, given["then"], given)
        return text(answers)

    async def _hearing(self, ctx: Context, kind: str) -> dict[str, Any]:
        """The client's answer, and what it reported before."""
        heard: list[Any] = []

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            heard.append({"progress": progress, "message": message})

        method, params = QUESTIONS[kind]
        metadata = ServerMessageMetadata(related_request_id=ctx.request_id)
        answer = await ctx.session.send_request(
            Message(method, params), Result, metadata=metadata, progress_callback=hear
        )
        return {"answer": answer, "heard": heard}

    async def _talking(self, ctx: Context, session: Session, kind: str, file: str) -> dict[str, Any]:
        """The client's answer; once the file exists, it is told things until it answers."""
        answers: list[dict[str, Any]] = []

        async def talk() -> None:
            while not os.path.exists(file):
                await anyio.sleep(0.01)
            for number in range(3):
                await self._tell(ctx, "notifications/message", {"level": "info", "data": {"words": number}})
                token = ((ctx.params or {}).get("_meta") or {}).get("progressToken")
                await self._tell(ctx, "notifications/progress", {"progressToken": token, "progress": number})
            self._log("talked")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk)
            answers.append(await self._asked(ctx, kind))
        return answers[0]

    async def _together(self, ctx: Context, kinds: list[str]) -> list[Any]:
        answers: dict[int, Any] = {}

        async def one(number: int, kind: str) -> None:
            answers[number] = await self._asked(ctx, kind)

        async with anyio.create_task_group() as tasks:
            for number, kind in enumerate(kinds):
                tasks.start_soon(one, number, kind)
        return [answers[number] for number in range(len(kinds))]

    async def _asked(
        self, ctx: Context, kind: str, tag: Params | None = None, *, state: Any = (), is_first: bool = True
    ) -> dict[str, Any]:
        """The client's answer, or, in the newer era, the result that asks for it."""
        method, params = QUESTIONS[kind]
        params = {**params, **(tag or {})}
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            metadata = ServerMessageMetadata(related_request_id=ctx.request_id)
            try:
                return await ctx.session.send_request(Message(method, params), Result, metadata=metadata)
            except MCPError as refusal:
                return {"error": refusal.error.model_dump(exclude_none=True)}
        responses = (ctx.params or {}).get("inputResponses")
        if responses is not None and is_first:
            return responses["q"]
        requests = {"q": {"method": method, "params": params}}
        return {
            "resultType": "input_required",
            "inputRequests": requests,
            "requestState": json.dumps([os.getpid(), list(state)]),
        }

    async def _tell(self, ctx: Context, method: str, params: Params, *, related: bool = True) -> None:
        await ctx.session.send_notification(cast("Any", Message(method, params)), ctx.request_id if related else None)

    async def _tell_of_tasks(self, ctx: Context, task_ids: list[str]) -> dict[str, Any]:
        """The stream of changes of some tasks."""
        if TASKS not in (self._capabilities(ctx).get("extensions") or {}):
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "Missing required client capability")
        meta = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
        known = [task_id for task_id in task_ids if task_id in self._tasks]
        await self._tell(
            ctx, "notifications/subscriptions/acknowledged", {"notifications": {"taskIds": known}, "_meta": meta}
        )
        send, receive = anyio.create_memory_object_stream[Any](100)
        for task_id in known:
            self._tasks[task_id].append(send)
        self._log(f"listen {known}")
        try:
            async for task in receive:
                await self._tell(ctx, "notifications/tasks", {**task, "_meta": meta})
        finally:
            self._log(f"deaf {known}")
            for task_id in known:
                self._tasks[task_id].remove(send)
        return {"_meta": meta}

    async def _finish(self, task_id: str) -> dict[str, Any]:
        result = {"content": [], "own": None}
        task = {"taskId": task_id, "status": "completed", "result": result, "own": [1.0]}
        for stream in self._tasks[task_id]:
            await stream.send(task)
        return text(len(self._tasks[task_id]))

    def _level(self, ctx: Context, session: Session) -> str | None:
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return ((ctx.params or {}).get("_meta") or {}).get(LOG_LEVEL_META_KEY)
        return session.level

    def _capabilities(self, ctx: Context) -> Any:
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return ((ctx.params or {}).get("_meta") or {}).get(CLIENT_CAPABILITIES_META_KEY)
        if (said := self._session(ctx).said) and ctx.request is None:
            return said["capabilities"]
        return ctx.session.client_capabilities.model_dump(by_alias=True, mode="json", exclude_unset=True)

    async def _say(self, ctx: Context, session: Session, level: str, words: str) -> None:
        wanted = self._level(ctx, session)
        if wanted is not None and LEVELS.index(level) >= LEVELS.index(wanted):
            await self._tell(ctx, "notifications/message", {"level": level, "data": {"words": words}, "own": None})

    async def _touch(self, ctx: Context, session: Session, uri: str) -> dict[str, Any]:
        """Tell everyone who subscribed, in any session."""
        await self._bus.publish(ResourceUpdated(uri=uri))
        told = 0
        for other in self._sessions.values():
            if uri in other.subscribed:
                await self._tell(
                    other.context, "notifications/resources/updated", {"uri": uri, "own": 1}, related=False
                )
                told += 1
        return text(told)


def text(value: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": json.dumps(value)}]}


async def serve_stdio(server: Server[Any]) -> None:
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())


def serve_http(server: Server[Any]) -> None:
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(f"LISTENING http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="critical", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("transport", choices=["stdio", "http"])
    parser.add_argument("--log")
    options = parser.parse_args()
    chatty = Chatty(options.log)
    if options.transport == "http":
        serve_http(chatty.server)
    else:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        anyio.run(serve_stdio, chatty.server)
