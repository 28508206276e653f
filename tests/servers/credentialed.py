"""A server over stdio that says what it was started with, and writes down all that it gets: `credentialed.py LOG`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

LOG = Path(sys.argv[1])
TOOL = {"name": "who", "inputSchema": {"type": "object"}}


def answer(message: dict[str, object]) -> dict[str, object]:
    """The result of a request."""
    match message["method"]:
        case "initialize":
            return {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "credentialed", "version": "1"},
            }
        case "tools/list":
            return {"tools": [TOOL]}
        case "tools/call":
            text = os.environ.get("SECRET", "nobody")
            return {"content": [{"type": "text", "text": text}, {"type": "text", "text": json.dumps(dict(os.environ))}]}
        case _:
            return {}


with LOG.open("a", encoding="utf-8") as log:
    log.write(json.dumps(dict(os.environ)) + "\n")
    log.flush()
    for line in sys.stdin:
        log.write(line)
        log.flush()
        message = json.loads(line)
        if "id" in message:
            if message["method"] == "server/discover":
                answered = {"error": {"code": -32601, "message": "Method not found"}}
            else:
                answered = {"result": answer(message)}
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answered}), flush=True)
