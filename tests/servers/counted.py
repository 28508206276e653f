"""A server that writes down each call and whose it was, over stdio or HTTP. Standard library only, to start quickly.

    counted.py LOG [PORT]

Each process over stdio, and each session over HTTP, belongs to the user of its first call. A line of the log is the tag
of a call, its user, and `own` or `foreign`. `GET /sessions` says how many sessions there are over HTTP.
"""

import json
import os
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROPERTIES = {"user": {"type": "string"}, "tag": {"type": "string"}, "seconds": {"type": "number"}}
TOOL = {"name": "mark", "inputSchema": {"type": "object", "properties": PROPERTIES, "required": list(PROPERTIES)}}


class Session:
    def __init__(self, log: str) -> None:
        self.log = log
        self.user = None

    def answer(self, message: dict) -> dict | None:
        method = message.get("method")
        if "id" not in message or method is None:
            return None
        if method == "initialize":
            about = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "counted", "version": "1"}}
            return {"id": message["id"], "result": {**about, "capabilities": {"tools": {}}}}
        if method == "tools/list":
            return {"id": message["id"], "result": {"tools": [TOOL]}}
        if method == "tools/call":
            return {"id": message["id"], "result": self.call(message["params"]["arguments"])}
        return {"id": message["id"], "result": {}}

    def call(self, given: dict) -> dict:
        self.user = self.user or given["user"]
        whose = "own" if self.user == given["user"] else "foreign"
        line = f"{given['tag']} {given['user']} {whose}\n"
        file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line.encode())
        os.close(file)
        time.sleep(given["seconds"])
        return {"content": [{"type": "text", "text": f"{given['tag']} of {self.user}"}]}


def serve_stdio(log: str) -> None:
    session, lock = Session(log), threading.Lock()

    def answer(message: dict) -> None:
        reply = session.answer(message)
        if reply is not None:
            with lock:
                sys.stdout.write(json.dumps({"jsonrpc": "2.0", **reply}) + "\n")
                sys.stdout.flush()

    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "tools/call":
            threading.Thread(target=answer, args=(message,), daemon=True).start()
        else:
            answer(message)


def serve_http(log: str, port: int) -> None:
    sessions: dict[str, Session] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            if self.path == "/sessions":
                self.reply(200, str(len(sessions)).encode())
            else:
                self.reply(405)

        def do_DELETE(self) -> None:
            found = sessions.pop(self.headers.get("Mcp-Session-Id", ""), None)
            self.reply(404 if found is None else 200)

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            session_id = self.headers.get("Mcp-Session-Id", "")
            if message.get("method") == "initialize":
                session_id = secrets.token_hex(16)
                sessions[session_id] = Session(log)
            session = sessions.get(session_id)
            if session is None:
                self.reply(404)
                return
            answer = session.answer(message)
            if answer is None:
                self.reply(202)
                return
            body = json.dumps({"jsonrpc": "2.0", **answer}).encode()
            self.reply(200, body, Content_Type="application/json", Mcp_Session_Id=session_id)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 512

    server = Server(("127.0.0.1", port), Handler)
    print(f"LISTENING http://127.0.0.1:{server.server_port}/mcp", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        serve_http(sys.argv[1], int(sys.argv[2]))
    else:
        serve_stdio(sys.argv[1])
