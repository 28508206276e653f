"""Everything of `everything_server.py`, and more, served by `jackfield.serving` as one of several instances.

    served.py [--port N] [--redis URL] [--ttl SECONDS] [--log-events N] --log FILE

Each call of `work`, `mute` and `steps_slowly` is noted in the log, so that a test can count what ran. What a test wants
the server to do unasked it asks for by plain HTTP: `/tell?n=1`, `/end`, `/forget`.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).parent))

import uvicorn
from everything_server import Answer, server
from mcp.server.mcpserver import Context
from mcp.types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    EmptyResult,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    SetLevelRequestParams,
    TextContent,
)
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from jackfield.serving import ServedSessions, ServingLimits, serve_sessions
from jackfield.serving.stores import resource_topic

logging.getLogger("mcp").setLevel(logging.ERROR)
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
parser.add_argument("--redis", help="where sessions are kept; in this process if omitted")
parser.add_argument("--prefix", default="jackfield")
parser.add_argument("--ttl", type=float, default=3600.0)
parser.add_argument("--log-events", type=int, default=1000)
parser.add_argument("--log", required=True)
options = parser.parse_args()
served: ServedSessions

QUESTION = [SamplingMessage(role="user", content=TextContent(text="why?"))]


def note(line: str) -> None:
    descriptor = os.open(options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


@server.tool()
def work(n: int) -> str:
    """Work that can be counted."""
    note(f"run work {n}")
    return f"work {n}"


@server.tool()
async def mute(n: int, seconds: float) -> str:
    """Work that takes its time, and says nothing meanwhile."""
    note(f"run mute {n}")
    await anyio.sleep(seconds)
    return f"mute {n}"


@server.tool()
async def steps_slowly(n: int, count: int, pause: float, ctx: Context) -> str:
    """Work that reports each of its steps."""
    note(f"run steps {n}")
    for step in range(count):
        await ctx.report_progress(step + 1, count)
        await anyio.sleep(pause)
    return f"{count} steps"


@server.tool()
async def aside(kind: str, ctx: Context) -> str:
    """Ask the client on its standing stream, rather than on that of this call."""
    if kind == "sampling":
        answer = await ctx.session.create_message(QUESTION, max_tokens=10)
        return str(getattr(answer.content, "text", ""))
    if kind == "roots":
        return ", ".join(str(root.uri) for root in (await ctx.session.list_roots()).roots)
    result = await ctx.session.elicit_form("Who are you?", Answer.model_json_schema())
    return str((result.content or {}).get("name"))


@server.tool(structured_output=False)
async def ask_all(ctx: Context) -> Any:
    """Ask the client for a message, a form and its roots, as its protocol has it."""
    if ctx.protocol_version != "2026-07-28":
        return " ".join([await aside(kind, ctx) for kind in ("sampling", "elicitation", "roots")])
    if not ctx.input_responses:
        form = ElicitRequestFormParams(message="Who are you?", requested_schema=Answer.model_json_schema())
        return InputRequiredResult(
            input_requests={
                "sampling": CreateMessageRequest(params=CreateMessageRequestParams(messages=QUESTION, max_tokens=10)),
                "elicitation": ElicitRequest(params=form),
                "roots": ListRootsRequest(),
            },
            request_state="asked",
        )
    answers: Any = ctx.input_responses
    roots = ", ".join(str(root.uri) for root in answers["roots"].roots)
    return f"{answers['sampling'].content.text} {answers['elicitation'].content['name']} {roots}"


@server.tool()
async def log_lines(ctx: Context) -> str:
    """Log on the stream of the call, at two levels."""
    for level in ("debug", "warning"):
        await ctx.log(level, f"a {level}")
    return "logged"


@server.custom_route("/tell", ["POST"])
async def tell(request: Request) -> PlainTextResponse:
    """Tell all sessions a number."""
    data = {"level": "info", "data": int(request.query_params["n"])}
    return PlainTextResponse(str(await served.notify_all("notifications/message", data)))


@server.custom_route("/changed", ["POST"])
async def changed(request: Request) -> PlainTextResponse:
    """Tell all sessions that the tools changed."""
    return PlainTextResponse(str(await served.notify_all("notifications/tools/list_changed")))


@server.custom_route("/update", ["POST"])
async def update(request: Request) -> PlainTextResponse:
    """Tell those who subscribed to a resource that it changed."""
    for session_id in await served.host.sessions.subscribers(resource_topic("notes://today")):
        await served.notify(session_id, "notifications/resources/updated", {"uri": "notes://today"})
    return PlainTextResponse("")


@server.custom_route("/end", ["POST"])
async def end(request: Request) -> PlainTextResponse:
    """End all sessions."""
    ended = [await served.end_session(session_id) for session_id in await served.host.sessions.live()]
    return PlainTextResponse(str(len(ended)))


@server.custom_route("/forget", ["POST"])
async def forget(request: Request) -> PlainTextResponse:
    """Lose all sessions, as a store does that comes back empty."""
    for session_id in await served.host.sessions.live():
        calls = await served.host.sessions.delete(session_id)
        await served.host.streams.delete(session_id, [call.stream for call in calls or ()])
    return PlainTextResponse("")


@server.custom_route("/sessions", ["GET"])
async def sessions(request: Request) -> PlainTextResponse:
    """How many there are."""
    return PlainTextResponse(str(len(await served.host.sessions.live())))


async def set_level(ctx: object, params: SetLevelRequestParams) -> EmptyResult:
    """An `MCPServer` has no logging of its own in the older protocol."""
    return EmptyResult()


def main() -> None:
    global served
    backend = None
    if options.redis is not None:
        from jackfield.serving.redis import RedisBackend

        backend = RedisBackend(options.redis, prefix=options.prefix)
    server.streamable_http_app()
    low_level = server.session_manager.app
    low_level.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)
    limits = ServingLimits(log_events=options.log_events)
    served = serve_sessions(server, backend, session_ttl=options.ttl, limits=limits, keys=["k" * 32])
    # Named outright: asyncio turns off the delay of small packets only where it knows that it is TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", options.port))
    listener.listen()
    print(f"LISTENING http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    uvicorn.Server(uvicorn.Config(served, log_level="critical", timeout_graceful_shutdown=2)).run([listener])


if __name__ == "__main__":
    main()
