"""A server without the SDK that delays, asks and tells on demand, over stdio or HTTP. Handshake era.

Its tool `work` answers "done"; before that it sends what `--asks` and `--tells` say.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PARAMS = {
    "sampling/createMessage": {"messages": [], "maxTokens": 1},
    "elicitation/create": {"message": "?", "requestedSchema": {"type": "object", "properties": {}}},
}


class Pushy:
    """What the server answers to each message, and says before it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.unanswered = options.unanswered_lists
        self.log = open(options.log, "a", buffering=1)  # noqa: SIM115 - until the end

    def replies(self, message: dict) -> Iterator[dict]:
        method, params = message.get("method"), message.get("params") or {}
        code = message.get("error", {}).get("code", "")
        words = json.dumps(params) if method == "notifications/progress" else code
        self.log.write(f"{method or 'answer'} {message.get('id')} {words}\n")
        if method is None or "id" not in message:
            return
        if method == "tools/call":
            yield from self.asks()
            if self.options.tells:
                yield from self.tells(params.get("_meta", {}).get("progressToken"))
        result = self.result(method, params)
        if result is not None:
            yield {"id": message["id"], "result": result}

    def result(self, method: str, params: dict) -> dict | None:
        if method == "initialize":
            time.sleep(self.options.start_delay)
            about = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "pushy", "version": "1"}}
            return {**about, "capabilities": {"tools": {"listChanged": True}, "logging": {}}}
        if method == "tools/list":
            time.sleep(self.options.page_delay)
            if self.unanswered > 0:
                self.unanswered -= 1
                return None
            page = int(params.get("cursor") or 0)
            tools = [{"name": "work" if page == 0 else f"t{page}", "inputSchema": {"type": "object"}}]
            more = {"nextCursor": str(page + 1)} if page + 1 < self.options.pages else {}
            return {"tools": tools, **more}
        if method == "tools/call":
            time.sleep(self.options.call_delay)
            return {"content": [{"type": "text", "text": "done"}]}
        return {}

    def asks(self) -> Iterator[dict]:
        for number in range(self.options.asks):
            request_id = "ask-0" if self.options.same_id else f"ask-{number}"
            params = dict(PARAMS.get(self.options.method, {}))
            if self.options.ask_progress:
                params["_meta"] = {"progressToken": "of the server"}
            yield {"id": request_id, "method": self.options.method, "params": params}

    def tells(self, token: object) -> Iterator[dict]:
        yield {"method": "notifications/message", "params": {"level": "info", "data": "x"}}
        yield {"method": "notifications/tools/list_changed"}
        if token is not None:
            yield {"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}}


def serve_stdio(pushy: Pushy) -> None:
    for line in sys.stdin:
        for reply in pushy.replies(json.loads(line)):
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", **reply}) + "\n")
        sys.stdout.flush()


def serve_http(pushy: Pushy) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            replies = pushy.replies(message)
            if "id" not in message or "method" not in message:
                list(replies)
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for reply in replies:
                data = json.dumps({"jsonrpc": "2.0", **reply})
                self.wfile.write(f"event: message\ndata: {data}\n\n".encode())

        def do_GET(self) -> None:
            self.send_error(405)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"LISTENING http://127.0.0.1:{server.server_port}/mcp", flush=True)
    server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--page-delay", type=float, default=0.0, help="seconds before each page of tools")
    parser.add_argument("--start-delay", type=float, default=0.0, help="seconds before the handshake is answered")
    parser.add_argument("--call-delay", type=float, default=0.0, help="seconds before each call is answered")
    parser.add_argument("--pages", type=int, default=1)
    parser.add_argument("--unanswered-lists", type=int, default=0, help="so many tools/list get no answer")
    parser.add_argument("--asks", type=int, default=0, help="requests that each call sends before it is answered")
    parser.add_argument("--method", default="sampling/createMessage", help="what it asks")
    parser.add_argument("--same-id", action="store_true", help="all it asks has one id")
    parser.add_argument("--ask-progress", action="store_true", help="it asks for progress of what it asks")
    parser.add_argument("--tells", action="store_true", help="sends notifications before an answer")
    parser.add_argument("--log", required=True, help="gets a line for each message that arrives")
    options = parser.parse_args()
    (serve_http if options.http else serve_stdio)(Pushy(options))


if __name__ == "__main__":
    main()
