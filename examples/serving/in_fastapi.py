"""Served from a FastAPI application, at /mcp, beside routes of its own.

Run: python examples/serving/in_fastapi.py [PORT]
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from shop import shop

from jackfield.serving import serve_sessions

served = serve_sessions(shop())
app = FastAPI(lifespan=served.lifespan)  # an application does not start what is mounted in it


@app.get("/health")
async def health() -> dict[str, int]:
    """How many sessions there are."""
    return {"sessions": await served.host.sessions.count()}


app.mount("/", served)  # last: what no route above takes

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
