"""An MCP server that goes wrong at a chosen moment. Standard library only, so that it starts quickly.

    rig.py stdio|http|sse --era handshake|modern --fault NAME --when open|ready|call|idle|close --log FILE

The fault happens `--times` times, at the moment `--when`, once `--after` calls have come. What was counted
stands in the log, so that it outlives the process. A crash of an HTTP server is followed by a restart on
the same port, as a supervisor would do it: the program replaces itself and keeps only the listening socket.

Over HTTP a call can bring along how it is to be answered the first time: `answer="STATUS BODY WORDS"`.
"""

import argparse
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

HINTS = {"look": {"readOnlyHint": True}, "put": {"idempotentHint": True}}
TOOLS = ["announce", "work", "look", "put", "count", "pid", "sleep", "big", "deep"]
DEEP = 5000


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("transport", choices=["stdio", "http", "sse"])
    parser.add_argument("--era", choices=["handshake", "modern"], default="handshake")
    parser.add_argument("--fault", default="none")
    parser.add_argument("--when", choices=["open", "ready", "call", "idle", "close"], default="call")
    parser.add_argument("--after", type=int, default=0)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--log", required=True)
    parser.add_argument("--start-delay", type=float, default=0.0)
    parser.add_argument("--event-ids", action="store_true", help="events have ids, and streams can be resumed")
    parser.add_argument("--retry-ms", type=int, help="sent with the first event of a stream")
    parser.add_argument("--stubborn", action="store_true", help="ignores the end of stdin and SIGTERM")
    parser.add_argument("--helper", action="store_true", help="leaves a stubborn process of its own behind")
    parser.add_argument("--banner", action="store_true")
    parser.add_argument("--stderr-bytes", type=int, default=0)
    parser.add_argument("--pages", type=int, default=1)
    parser.add_argument("--tools", type=int, default=0, help="so many more of them")
    parser.add_argument("--schema", choices=["plain", "huge", "recursive", "deep"], default="plain")
    parser.add_argument("--flood", type=int, default=0, help="notifications before each answer")
    parser.add_argument("--id-last", action="store_true", help="answers end with their id, and have others before it")
    parser.add_argument("--one-session", action="store_true", help="another one is refused with 409 until it is ended")
    parser.add_argument("--fd", type=int, help="the listening socket, after a restart")
    return parser.parse_args(arguments)


class Rig:
    """What is the same on all transports: tools, sessions, faults."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.lock = threading.Lock()

    # Counting

    def log(self, line: str) -> None:
        descriptor = os.open(self.options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)

    def lines(self, start: str) -> int:
        if not os.path.isfile(self.options.log):
            return 0  # /dev/null keeps nothing
        with open(self.options.log, "a+") as file:
            file.seek(0)
            return sum(line.startswith(start) for line in file)

    def fires(self, when: str) -> bool:
        options = self.options
        if options.fault == "none" or options.when != when:
            return False
        with self.lock:
            if self.lines("fault") >= options.times:
                return False
            if when in ("call", "idle") and self.lines("call") <= options.after - (when == "idle"):
                return False
            self.log("fault")
            return True

    # Answering

    def answer(self, message: dict, state: dict) -> dict | None:
        method, params = message["method"], message.get("params", {})
        if method == "tools/call":
            return self.call(params["name"], params.get("arguments", {}), state)
        if method == "tools/list":
            return self.page(int(params.get("cursor") or 0))
        info = {"serverInfo": {"name": "rig", "version": "1"}, "capabilities": {"tools": {}}}
        if method == "initialize" and self.options.era == "handshake":
            return {"protocolVersion": "2025-11-25", **info}
        if method == "server/discover" and self.options.era == "modern":
            return {"supportedVersions": ["2026-07-28"], "ttlMs": 0, "cacheScope": "private", **info}
        return {} if method == "ping" else None

    def call(self, name: str, arguments: dict, state: dict) -> dict:
        self.log(f"run {name} {arguments.get('n', '')}")
        state["count"] = state.get("count", 0) + 1
        text = f"{name} {arguments.get('n', '')}"
        time.sleep(arguments.get("seconds", 0))
        if (slow := arguments.get("slow")) and self.lines(f"run {name} {arguments.get('n', '')}\n") <= slow:
            hang()
        if name == "count":
            text = str(state["count"])
        elif name == "pid":
            text = str(os.getpid())
        elif name == "big":
            text = "x" * arguments["bytes"]
        elif name == "deep":
            text = "@deep@"
        meta = {"state": state.setdefault("name", os.urandom(4).hex())}
        return {"content": [{"type": "text", "text": text}], "isError": False, "_meta": meta}

    def page(self, number: int) -> dict:
        names = TOOLS if number == 0 else [f"page{number}"]
        tools = [self.tool(name) for name in names]
        tools += [self.tool(f"more{number}") for number in range(self.options.tools)]
        if self.options.schema != "plain" and number == 0:
            tools.append({"name": "odd", "inputSchema": self.schema()})
        last = 0 <= self.options.pages <= number + 1
        return {"tools": tools} if last else {"tools": tools, "nextCursor": str(number + 1)}

    def tool(self, name: str) -> dict:
        kinds = {"n": {"type": "integer"}, "seconds": {"type": "number"}, "bytes": {"type": "integer"}}
        kinds["slow"] = {"type": "integer", "description": "so many calls of this n are never answered"}
        return {
            "name": name,
            "inputSchema": {"type": "object", "properties": kinds},
            **({"annotations": HINTS[name]} if name in HINTS else {}),
        }

    def schema(self) -> dict:
        if self.options.schema == "recursive":
            return {"type": "object", "properties": {"self": {"$ref": "#"}}, "allOf": [{"$ref": "#"}]}
        if self.options.schema == "huge":
            return {"type": "object", "description": "x" * 1_000_000}
        schema: dict = {"type": "object"}
        for _ in range(80):
            schema = {"type": "object", "properties": {"inner": schema, "x" * 5000: {}}}
        return schema

    def encoded(self, message: dict, result: dict | None) -> str:
        if result is None:
            body = {"error": {"code": -32601, "message": f"no {message['method']}"}}
        elif self.options.era == "modern":
            body = {"result": {"resultType": "complete", **result}}
            if message["method"] == "tools/list":
                body["result"] |= {"ttlMs": 0, "cacheScope": "private"}
        else:
            body = {"result": result}
        if self.options.id_last:
            if "result" in body:
                body["result"] = {"_meta": {"records": [{"id": n} for n in range(40)]}, **body["result"]}
            message_text = {**body, "jsonrpc": "2.0", "id": message["id"]}
        else:
            message_text = {"jsonrpc": "2.0", "id": message["id"], **body}
        text = json.dumps(message_text)
        return text.replace('"@deep@"', '{"a":' * DEEP + "1" + "}" * DEEP)

    def notifications(self) -> list[str]:
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "flood"}}
        return [json.dumps(note)] * self.options.flood

    def leave_helper(self) -> None:
        code = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
        subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)


def hang() -> None:
    while True:
        time.sleep(1000)


# stdio


class Stdio(Rig):
    def write(self, text: str) -> None:
        with self.lock:
            sys.stdout.write(text)
            sys.stdout.flush()

    def serve(self) -> None:
        if self.fires("open"):
            self.fail("open", None)
        state: dict = {}
        for line in sys.stdin:
            message = json.loads(line)
            if message.get("method") == "notifications/cancelled":
                self.log("cancelled")
            if message.get("method") == "notifications/initialized" and self.fires("ready"):
                self.fail("ready", None)
            if "id" not in message:
                continue
            if message["method"] == "tools/call":
                self.log("call")
                threading.Thread(target=self.handle, args=(message, state), daemon=True).start()
            else:
                self.handle(message, state)
        self.log("eof")
        if self.fires("close"):
            self.fail("close", None)
        if self.options.stubborn:
            hang()

    def handle(self, message: dict, state: dict) -> None:
        if message["method"] == "tools/call" and self.fires("call"):
            self.fail("call", message)
            return
        text = self.encoded(message, self.answer(message, state))
        for note in self.notifications() if message["method"] == "tools/call" else []:
            self.write(note + "\n")
        self.write(text + "\n")
        if message["method"] == "tools/call" and self.fires("idle"):
            self.fail("idle", message)

    def fail(self, when: str, message: dict | None) -> None:
        fault = self.options.fault
        if fault == "crash":
            print("about to crash", file=sys.stderr, flush=True)
            os._exit(3)
        if fault == "ran-and-crash" and message is not None:
            self.answer(message, {})
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "cut":
            self.write('{"jsonrpc": "2.0", "id": ')
            os._exit(0)
        if fault == "eof":
            sys.stdout.flush()
            os.close(1)
            hang()
        if fault == "stall":
            with self.lock:
                hang()
        raise SystemExit(f"no fault {fault}")


# HTTP


class Http(Rig):
    """Streamable HTTP and SSE. A session is a queue of what goes out on its standing stream, and a state."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.sessions: dict[str, dict] = {}
        self.resumable: dict[str, list[str]] = {}
        self.refused: set[int] = set()
        self.listener = socket.socket(fileno=options.fd) if options.fd else self.bound()

    @staticmethod
    def bound() -> socket.socket:
        """Bound to a port by its number: only then does the socket keep it while it does not listen."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = probe.getsockname()
        return socket.create_server(address)

    def serve(self) -> None:
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        rig = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                rig.post(self, json.loads(body))

            def do_GET(self) -> None:
                rig.get(self)

            def do_DELETE(self) -> None:
                rig.delete(self)

            def log_message(self, *args: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except (ConnectionError, ValueError, OSError):
                    self.close_connection = True

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass

        server = Server(self.listener.getsockname(), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = self.listener
        host, port = self.listener.getsockname()
        if self.options.fd is None:
            print(f"LISTENING http://{host}:{port}/{'sse' if self.options.transport == 'sse' else 'mcp'}", flush=True)
        server.serve_forever()

    # What is answered

    def post(self, http, message: dict) -> None:
        opening = message.get("method") in ("initialize", "server/discover")
        is_call = message.get("method") == "tools/call"
        if is_call:
            self.log("call")
        if secret := http.headers.get("x-tenant"):
            self.log(f"tenant {secret}")
        if message.get("method") == "notifications/cancelled":
            self.log("cancelled")
        session_id = http.headers.get("mcp-session-id") or http.path.partition("session_id=")[2]
        if opening and self.fires("open"):
            self.fail("open", http, message, session_id)
            return
        if is_call and self.fires("call"):
            self.fail("call", http, message, session_id)
            return
        if is_call and (answer := message["params"].get("arguments", {}).get("answer")) and self.is_first(message):
            self.refuse(http, message, *answer.split(" ", 2))
            return
        stateless = self.options.era == "modern"
        if self.options.one_session and opening and self.sessions:
            self.reply(http, 409, "text/plain", b"Another session is active")
            return
        if message.get("method") == "initialize" and self.options.transport == "http":
            session_id = os.urandom(8).hex()
            self.sessions[session_id] = {"queue": queue.Queue()}
        elif not stateless and session_id not in self.sessions:
            self.reply(http, 404, "text/plain", b"Session not found")
            return
        session = {"queue": queue.Queue()} if stateless else self.sessions[session_id]
        if session.get("stalled"):
            hang()
        if "id" not in message:
            self.reply(http, 202, "text/plain", b"")
            return
        text = self.encoded(message, self.answer(message, session))
        if is_call and message["params"]["name"] == "announce":
            session["queue"].put(json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))
        notes = self.notifications() if is_call else []
        if self.options.transport == "sse":
            self.reply(http, 202, "text/plain", b"Accepted")
            for note in [*notes, text]:
                session["queue"].put(note)
        elif is_call:
            self.stream(http, [*notes, text], session_id)
        else:
            headers = {"Mcp-Session-Id": session_id} if opening and not stateless else {}
            self.reply(http, 200, "application/json", text.encode(), headers)
        if is_call and self.fires("idle"):
            time.sleep(0.05)
            self.fail("idle", http, message, session_id)

    def get(self, http) -> None:
        session_id = http.headers.get("mcp-session-id", "")
        if self.options.transport == "sse":
            session_id = os.urandom(8).hex()
            self.sessions[session_id] = {"queue": queue.Queue()}
            self.sessions[session_id]["queue"].put(f"event: endpoint\ndata: /messages?session_id={session_id}\n\n")
        elif (last := http.headers.get("last-event-id")) and last.startswith("call"):
            name, _, number = last.partition("/")
            self.resume(http, name, int(number))
            return
        elif self.options.era == "modern":
            self.reply(http, 405, "text/plain", b"")
            return
        elif session_id not in self.sessions:
            self.reply(http, 404, "text/plain", b"Session not found")
            return
        elif self.options.fault == "refuse-stream" and self.fires("idle"):
            self.reply(http, 500, "text/plain", b"")
            return
        self.log("stream")
        self.start_stream(http)
        session = self.sessions[session_id]
        session["socket"] = http.connection
        while (item := session["queue"].get()) is not None:
            event = item if item.startswith("event:") else f"event: message\ndata: {item}\n\n"
            http.wfile.write(event.encode())
            http.wfile.flush()

    def delete(self, http) -> None:
        session_id = http.headers.get("mcp-session-id", "")
        self.log("delete")
        if self.fires("close"):
            self.fail("close", http, {}, session_id)
            return
        session = self.sessions.pop(session_id, None)
        if session:
            session["queue"].put(None)
        self.reply(http, 200 if session else 404, "text/plain", b"")

    # How it is written

    def reply(self, http, status: int, kind: str, body: bytes, headers: dict | None = None) -> None:
        http.send_response(status)
        http.send_header("Content-Type", kind)
        http.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            http.send_header(name, value)
        http.end_headers()
        http.wfile.write(body)

    def start_stream(self, http) -> None:
        http.send_response(200)
        http.send_header("Content-Type", "text/event-stream")
        http.send_header("Connection", "close")
        http.end_headers()
        http.wfile.flush()
        http.close_connection = True

    def events(self, messages: list[str], name: str) -> list[str]:
        retry = f"retry: {self.options.retry_ms}\n" if self.options.retry_ms is not None else ""
        if not self.options.event_ids:
            return [f"event: message\n{retry}data: {text}\n\n" for text in messages]
        first = f"id: {name}/0\n{retry}data: \n\n"
        return [first, *(f"id: {name}/{n}\nevent: message\ndata: {text}\n\n" for n, text in enumerate(messages, 1))]

    def stream(self, http, messages: list[str], name: str, upto: float | None = None) -> None:
        name = f"call-{os.urandom(4).hex()}"
        events = self.events(messages, name)
        self.resumable[name] = events
        self.start_stream(http)
        data = "".join(events).encode()
        if upto is not None:
            # Whole priming event, then some of what follows, ending within an event.
            start = len(events[0].encode()) if self.options.event_ids else 0
            data = data[: start + int((len(data) - start) * upto)]
        http.wfile.write(data)
        http.wfile.flush()

    def resume(self, http, name: str, number: int) -> None:
        self.log("resume")
        if name not in self.resumable:
            self.reply(http, 404, "text/plain", b"")
            return
        self.start_stream(http)
        # One event too many, as a careless server might send it.
        for event in self.resumable[name][number:]:
            http.wfile.write(event.encode())
        http.wfile.flush()

    # What goes wrong

    def fail(self, when: str, http, message: dict, session_id: str) -> None:
        fault = self.options.fault
        session = self.sessions.get(session_id)
        if fault == "crash":
            self.restart()
            return
        if fault == "ran-and-crash":
            self.answer(message, {})
            self.restart()
            return
        if fault == "down":
            self.restart("--start-delay", "0.3")
            return
        if fault == "stall":
            if session is not None:
                session["stalled"] = True
            hang()
        if fault == "cut":
            self.cut(when, http, message, session)
            return
        if fault in ("forget", "invalid"):
            self.forget(session_id)
            status, text = (404, b"Session not found") if fault == "forget" else (400, b"no valid session ID")
            if when == "call":
                self.reply(http, status, "text/plain", text)
            return
        if fault == "refuse-stream":
            self.shut(session)
            return
        status, _, wait = fault.partition("/")
        headers = {"Retry-After": wait} if wait else {}
        self.reply(http, int(status), "text/plain", f"on purpose: {status}".encode(), headers)
        return

    def is_first(self, message: dict) -> bool:
        n = message["params"]["arguments"]["n"]
        with self.lock:
            if n in self.refused:
                return False
            self.refused.add(n)
            return True

    def refuse(self, http, message: dict, status: str, body: str, words: str) -> None:
        """Answer a call as it asks for: by a status, with a body of some kind."""
        headers = {"WWW-Authenticate": "Bearer"} if words == "challenge" else {}
        if status.startswith("30"):
            headers["Location"] = http.path if status in ("307", "308") else "/elsewhere"
        if body in ("null", "own", "foreign"):
            answered = {"null": None, "own": message["id"], "foreign": "of somebody else"}[body]
            error = {"jsonrpc": "2.0", "id": answered, "error": {"code": -32000, "message": words}}
            self.reply(http, int(status), "application/json", json.dumps(error).encode(), headers)
        elif body == "html":
            self.reply(http, int(status), "text/html", f"<html><title>{words}</title></html>".encode(), headers)
        else:
            self.reply(http, int(status), "text/plain", words.encode() if body == "text" else b"", headers)

    def forget(self, session_id: str) -> None:
        session = self.sessions.pop(session_id, None)
        if session is not None and self.options.transport == "http":
            self.shut(session)

    def shut(self, session: dict | None) -> None:
        if session is not None and (standing := session.get("socket")) is not None:
            session["queue"].put(None)
            with contextlib.suppress(OSError):
                standing.shutdown(socket.SHUT_RDWR)

    def cut(self, when: str, http, message: dict, session: dict | None) -> None:
        if when == "idle":
            self.shut(session)
            return
        text = self.encoded(message, self.answer(message, {} if session is None else session))
        if self.options.transport == "sse":
            self.reply(http, 202, "text/plain", b"Accepted")
            assert session is not None
            session["socket"].sendall(f"event: message\ndata: {text[:20]}".encode())
            self.shut(session)
            return
        self.stream(http, [*self.notifications(), text], "", upto=0.6)
        http.connection.shutdown(socket.SHUT_RDWR)
        return

    def restart(self, *more: str) -> None:
        kept = [value for value in sys.argv[1:] if value]
        if "--fd" in kept:
            del kept[kept.index("--fd") : kept.index("--fd") + 2]
        if more:
            # Linux: the socket stays bound, refuses, and can listen again.
            self.listener.shutdown(socket.SHUT_RDWR)
        os.set_inheritable(self.listener.fileno(), True)
        command = [sys.executable, "-S", __file__, *kept, *more, "--fd", str(self.listener.fileno())]
        os.execv(sys.executable, command)


def main() -> None:
    options = parse(sys.argv[1:])
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.banner:
        print("Welcome to the rig!", flush=True)
    if options.stderr_bytes:
        line = "e" * 99 + "\n"
        sys.stderr.write(line * (options.stderr_bytes // 100))
        sys.stderr.flush()
    rig = Stdio(options) if options.transport == "stdio" else Http(options)
    if options.helper:
        rig.leave_helper()
    time.sleep(options.start_delay)
    if isinstance(rig, Http) and options.fd is not None:
        rig.listener.listen(128)
    rig.serve()


if __name__ == "__main__":
    main()
