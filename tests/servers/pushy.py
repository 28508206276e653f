"""A server over stdio without the SDK that delays, asks and tells on demand. Handshake era.

Tools: `work` answers "done"; before that it sends what `--asks` says, or as `--tells` wants.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time

lock = threading.Lock()


def send(message: dict) -> None:
    with lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def ask(number: int, method: str) -> None:
    params = {
        "sampling/createMessage": {"messages": [], "maxTokens": 1},
        "elicitation/create": {"message": "?", "requestedSchema": {"type": "object", "properties": {}}},
    }
    send({"id": f"ask-{number}", "method": method, "params": params.get(method, {})})


def tell(token: object) -> None:
    send({"method": "notifications/message", "params": {"level": "info", "data": "x"}})
    send({"method": "notifications/tools/list_changed"})
    if token is not None:
        send({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--page-delay", type=float, default=0.0, help="seconds before each page of tools")
    parser.add_argument("--pages", type=int, default=1)
    parser.add_argument("--unanswered-lists", type=int, default=0, help="so many tools/list get no answer")
    parser.add_argument("--asks", type=int, default=0, help="requests that each call sends before it is answered")
    parser.add_argument("--method", default="sampling/createMessage", help="what it asks")
    parser.add_argument("--same-id", action="store_true", help="all it asks has one id")
    parser.add_argument("--tells", action="store_true", help="sends notifications before an answer")
    parser.add_argument("--log", required=True, help="gets a line for each message that arrives")
    options = parser.parse_args()
    unanswered = options.unanswered_lists
    capabilities = {"tools": {"listChanged": True}, "logging": {}}
    log = open(options.log, "a", buffering=1)  # noqa: SIM115 - until the end
    for line in sys.stdin:
        message = json.loads(line)
        method, params = message.get("method"), message.get("params") or {}
        code = message.get("error", {}).get("code", "")
        log.write(f"{method or 'answer'} {message.get('id')} {code}\n")
        if method == "initialize":
            about = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "pushy", "version": "1"}}
            send({"id": message["id"], "result": {**about, "capabilities": capabilities}})
        elif method == "tools/list":
            time.sleep(options.page_delay)
            if unanswered > 0:
                unanswered -= 1
                continue
            page = int(params.get("cursor") or 0)
            tools = [{"name": "work" if page == 0 else f"t{page}", "inputSchema": {"type": "object"}}]
            more = {"nextCursor": str(page + 1)} if page + 1 < options.pages else {}
            send({"id": message["id"], "result": {"tools": tools, **more}})
        elif method == "tools/call":
            for number in range(options.asks):
                ask(0 if options.same_id else number, options.method)
            if options.tells:
                tell(params.get("_meta", {}).get("progressToken"))
            send({"id": message["id"], "result": {"content": [{"type": "text", "text": "done"}]}})
        elif method and "id" in message:
            send({"id": message["id"], "result": {}})


if __name__ == "__main__":
    main()
