"""Served from a Starlette application that has a lifespan of its own.

Run: python examples/serving/in_starlette.py [PORT]
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from shop import shop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from jackfield.serving import serve_sessions

served = serve_sessions(shop())


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """What the application itself opens, and the sessions."""
    async with served.lifespan():
        yield


async def home(request: Request) -> PlainTextResponse:
    """A route of the application's own."""
    return PlainTextResponse("The MCP server is at /mcp.")


app = Starlette(routes=[Route("/", home), Mount("/", served)], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
