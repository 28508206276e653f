"""An MCP server that answers with the very results it is given. Standard library only, so that it starts quickly.

    scripted.py stdio|http --era handshake|modern --results JSON --log FILE

`--results` maps a method to its result; a list of results stands for one after another, the last of them for all that
follow. `"raw"` in the place of a result is the whole line, with @ID for the request's id, over HTTP with a `"status"`
and `"headers"`; `"echo"` gives a call's arguments back as text, `"params"` all of a request's parameters, `"given"` its
argument `result`, `null` says nothing, `"exit"` ends the process, `"cut"` the connection, `"hang"` answers nothing
until the client leaves, and `"late"` holds a result until the next request comes; one with `"after"` waits, over HTTP,
until that method was answered. What is asked goes to the log, a method each line. Over HTTP its address is printed
first.
"""

import argparse
import http.server
import json
import os
import sys
import time

TOOL = {"name": "work", "inputSchema": {"type": "object"}}
CAPABILITIES = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
WORKED = {"content": [{"type": "text", "text": "worked"}]}


class Silence(Exception):
    """No answer over HTTP."""


class Script:
    def __init__(self, options: argparse.Namespace) -> None:
        self.log_file = options.log
        self.held = ""
        self.status, self.headers = 200, {}
        self.answered: set[str] = set()
        self.modern = options.era == "modern"
        self.results = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": CAPABILITIES,
                "serverInfo": {"name": "scripted", "version": "1"},
            },
            "tools/list": {"tools": [TOOL]},
            "tools/call": WORKED,
        }
        if self.modern:
            del self.results["initialize"]
            self.results["server/discover"] = {"supportedVersions": ["2026-07-28"], "capabilities": CAPABILITIES}
        self.results |= json.loads(options.results)

    def answer(self, message: dict) -> str | None:
        method, request_id = message.get("method"), message.get("id")
        with open(self.log_file, "a") as file:
            file.write(f"{method}\n")
        if request_id is None or method is None:
            return None
        if method not in self.results:
            before, self.held = self.held, ""
            error = {"code": -32601, "message": "Method not found"}
            return before + json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error})
        result = self.results[method]
        if isinstance(result, list):
            result = result.pop(0) if len(result) > 1 else result[0]
        if result == "exit":
            os._exit(3)
        if result == "echo":
            text = json.dumps(message["params"].get("arguments"))
            result = {"content": [{"type": "text", "text": text}]}
        if result == "params":
            result = {"params": message.get("params")}
        if result == "given":
            result = message["params"]["arguments"].get("result", WORKED)
        if result in ("cut", "hang"):
            raise Silence(result)
        if result is None:
            return None
        if isinstance(result, dict) and "after" in result:
            while result["after"] not in self.answered:
                time.sleep(0.01)
        before, self.held = self.held, ""
        if isinstance(result, dict) and "late" in result:
            self.held = self.as_text(request_id, result["late"]) + "\n"
            return None
        return before + self.as_text(request_id, result)

    def as_text(self, request_id: object, result: object) -> str:
        if isinstance(result, dict) and "raw" in result:
            self.status, self.headers = result.get("status", 200), result.get("headers", {})
            return result["raw"].replace("@ID", json.dumps(request_id))
        if self.modern and isinstance(result, dict):
            result = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **result}
        return json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result})


def serve_stdio(script: Script) -> None:
    for line in sys.stdin:
        if (answer := script.answer(json.loads(line))) is not None:
            print(answer, flush=True)


def serve_http(script: Script) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                answer = script.answer(message)
            except Silence as how:
                self.close_connection = True
                if str(how) == "hang":
                    self.rfile.read(1)  # until the client leaves
                return
            body = (answer or "").encode()
            self.send_response(script.status if body else 202)
            for pair in {"content-type": "application/json", **script.headers}.items():
                self.send_header(*pair)
            script.status, script.headers = 200, {}
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            script.answered.add(message.get("method", ""))

        def do_GET(self) -> None:
            self.send_response(405)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"LISTENING http://127.0.0.1:{server.server_port}/mcp", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("transport", choices=["stdio", "http"])
    parser.add_argument("--era", choices=["handshake", "modern"], default="handshake")
    parser.add_argument("--results", default="{}")
    parser.add_argument("--log", required=True)
    given = parser.parse_args()
    (serve_stdio if given.transport == "stdio" else serve_http)(Script(given))
