"""One instance of a served server: what a cluster runs several of.

Run: instance.py --name NAME --port PORT [--app MODULE] [--by jackfield|sdk|sdk-json] [--store memory|URL]
                 [--ttl SECONDS] [--limits JSON] [--stop-delay SECONDS] [--log FILE]
                 [--http h11|httptools] [--loop asyncio|uvloop]

`--app` names a module with a function `served` that makes the SDK's server; the one of this file has tools that tell
where and how often they ran. Besides `/mcp` there are `/ready`, and `/state`, which tells what the process holds.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import importlib
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

# As a script, it finds the tests as pytest does.
sys.path.insert(0, str(Path(__file__).parents[3]))

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from tests.serving.cluster.backends import backend_of

from jackfield.serving import ServedSessions, ServingLimits, serve_sessions

KEYS = ["0123456789abcdef0123456789abcdef"]


class Name(BaseModel):
    """What `ask` asks for."""

    name: str


def served(options: argparse.Namespace) -> MCPServer[Any]:
    """A server whose tools tell where they ran."""
    server = MCPServer("cluster", log_level="ERROR")

    def ran(tag: str) -> None:
        descriptor = os.open(options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{tag} {options.name}\n".encode())
        os.close(descriptor)

    @server.tool()
    async def where() -> str:
        """The name of the instance that ran it."""
        return options.name

    @server.tool()
    async def work(tag: str, seconds: float = 0.0, steps: int = 1) -> str:
        """Take a while. The log has a line for each run."""
        ran(tag)
        for _ in range(steps):
            await anyio.sleep(seconds / steps)
        return f"{tag} {options.name}"

    @server.tool()
    async def report(ctx: Context[Any, Any], tag: str, seconds: float = 0.0, steps: int = 10) -> str:
        """The same, and tell of progress on the way."""
        ran(tag)
        for step in range(steps):
            await ctx.report_progress(step, steps)
            await anyio.sleep(seconds / steps)
        return f"{tag} {options.name}"

    @server.tool()
    async def ask(ctx: Context[Any, Any], tag: str) -> str:
        """Ask the user for a name."""
        ran(tag)
        answer = await ctx.elicit("Who is it?", Name)
        return f"{tag} {options.name} {answer.data.name if answer.action == 'accept' else answer.action}"

    @server.tool()
    async def change(ctx: Context[Any, Any]) -> str:
        """Tell this session's client that the tools have changed."""
        await ctx.session.send_tool_list_changed()
        return options.name

    return server


def application(options: argparse.Namespace) -> Callable[..., Any]:
    """What uvicorn runs."""
    make = importlib.import_module(options.app).served if options.app else served
    server = make(options)
    app: ServedSessions | Starlette
    match options.by:
        case "jackfield":
            limits = ServingLimits(**json.loads(options.limits))
            backend = backend_of(options.store)
            more = {"session_ttl": options.ttl, "stop_delay": options.stop_delay}
            app = serve_sessions(server, backend, keys=KEYS, limits=limits, **more)
        case _:
            app = server.streamable_http_app(json_response=options.by == "sdk-json", max_sessions=100_000)

    async def ready(request: Request) -> Response:
        is_ready = not isinstance(app, ServedSessions) or app.is_ready
        return Response(str(os.getpid()), 200 if is_ready else 503)

    async def state(request: Request) -> Response:
        if "exact" in request.query_params:
            gc.collect()
            # What the allocator keeps for later is not held.
            ctypes.CDLL(None).malloc_trim(0)
        held = {
            "pid": os.getpid(),
            "resident_bytes": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "descriptors": len(os.listdir("/proc/self/fd")),
        }
        if isinstance(app, ServedSessions):
            held |= {"running": len(app.host.instance.exchanges), "readers": len(app.host.instance.readers)}
        return JSONResponse(held)

    lifespan = app.lifespan if isinstance(app, ServedSessions) else app.router.lifespan_context
    routes = [Route("/ready", ready), Route("/state", state), Mount("/", app)]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--app", default="")
    parser.add_argument("--by", choices=["jackfield", "sdk", "sdk-json"], default="jackfield")
    parser.add_argument("--store", default="memory")
    parser.add_argument("--ttl", type=float, default=3600.0)
    parser.add_argument("--limits", default="{}")
    parser.add_argument("--stop-delay", type=float, default=0.0)
    parser.add_argument("--log", default=os.devnull)
    parser.add_argument("--http", choices=["h11", "httptools"], default="h11")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    options = parser.parse_args()
    uvicorn.run(
        application(options),
        host="127.0.0.1",
        port=options.port,
        log_level="warning",
        timeout_keep_alive=120,
        backlog=4096,
        http=options.http,
        loop=options.loop,
    )


if __name__ == "__main__":
    main()
