"""Pattern 3: any number of instances behind a load balancer, sessions in Redis or PostgreSQL. No sticky sessions.

Each instance runs this program with the same settings:

    SESSIONS_URL        redis://... or postgresql://... (create its tables first: `jackfield serving migrate`)
    REQUEST_STATE_KEY   at least 32 characters; protects what clients of MCP 2026-07-28 carry between instances
    PUBLIC_HOST         the host name that clients use, such as mcp.example.com; this machine only if it is not set
    ISSUER              with it: the authorization server whose tokens are accepted

Run: SESSIONS_URL=redis://127.0.0.1:6379 REQUEST_STATE_KEY=... python examples/serving/distributed.py [PORT]
 or: ... uvicorn --app-dir examples/serving distributed:app --workers 4
"""

from __future__ import annotations

import os
import sys

import uvicorn
from shop import shop

from jackfield.serving import Backend, JWTAuth, PostgresBackend, RedisBackend, serve_sessions


def backend(url: str) -> Backend:
    """What all instances share."""
    return PostgresBackend(url) if url.startswith("postgres") else RedisBackend(url)


host = os.environ.get("PUBLIC_HOST")
app = serve_sessions(
    shop(),
    backend(os.environ["SESSIONS_URL"]),
    auth=JWTAuth(issuer=os.environ["ISSUER"], audience=f"https://{host}/mcp") if host else None,
    keys=[os.environ["REQUEST_STATE_KEY"]],
    allowed_hosts=[host] if host else None,
    allowed_origins=[f"https://{host}"] if host else None,
    stop_delay=3.0,  # the load balancer checks /ready every second
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
