"""An MCP server over stdio that misbehaves on demand. Standard library only, so that it starts quickly.

It speaks the handshake of 2025-11-25. What each run of a tool did goes to `--log FILE`, a line each.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time

TOOLS = {
    "echo": {"text": {"type": "string"}},
    "add": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "count": {},
    "pid": {},
    "sleep": {"seconds": {"type": "number"}},
    "crash": {"code": {"type": "integer"}},
    "flood": {"bytes": {"type": "integer"}},
    "environment": {"name": {"type": "string"}},
    "fail": {},
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--start-delay", type=float, default=0.0)
    parser.add_argument(
        "--exit-delay", type=float, default=0.0, help="between the end of a crash's output and its exit"
    )
    parser.add_argument("--exit", type=int, help="exit with this code before the handshake")
    parser.add_argument("--stderr", default="", help="text written to stderr at the start")
    parser.add_argument("--last-words", default="", help="text written to stderr by a crash or SIGTERM")
    parser.add_argument("--stderr-bytes", type=int, default=0)
    parser.add_argument("--stdout", default="", help="lines printed on stdout before anything else")
    parser.add_argument("--silent", action="store_true", help="never answer")
    parser.add_argument("--ignore-eof", action="store_true")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--helper", choices=["group", "session", "daemon"], help="leave a helper behind")
    parser.add_argument("--helper-ignores-sigterm", action="store_true")
    parser.add_argument("--pages", type=int, default=1, help="pages of tools; -1 for no end")
    parser.add_argument("--log", help="file that gets a line for each run of a tool")
    return parser.parse_args()


def sleep(seconds: float, until: str | None) -> None:
    """Sleep, at most until this file is there; one beside it says that the sleep has begun."""
    if until is None:
        time.sleep(seconds)
        return
    open(f"{until}.begun", "w").close()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not os.path.exists(until):
        time.sleep(0.01)


def leave_helper(kind: str, stubborn: bool) -> None:
    """Start a process that outlives this one, with pipes inherited as careless servers do."""
    code = "import time; time.sleep(1000)"
    if stubborn:
        code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {code}"
    if kind == "daemon":
        # The classical double fork: in a session of its own, its parent gone.
        code = f"import os, sys; os.setsid(); os.fork() and os._exit(0); {code}"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=kind == "session")


class Server:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.calls = 0
        self.lock = threading.Lock()

    def log(self, line: str) -> None:
        if self.options.log:
            with open(self.options.log, "a") as file:
                file.write(line + "\n")

    def send(self, message: dict) -> None:
        with self.lock:
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            sys.stdout.flush()

    def serve(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if self.options.silent:
                continue
            if message.get("method") == "notifications/cancelled":
                self.log(f"cancelled {message['params']['requestId']}")
            if "id" in message and "method" in message:
                self.answer(message)

    def answer(self, message: dict) -> None:
        method, params = message["method"], message.get("params", {})
        if method == "initialize":
            result = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "unruly", "version": "1"},
            }
        elif method == "ping":
            result = {}
        elif method == "tools/list":
            result = self.page(params.get("cursor"))
        elif method == "tools/call":
            threading.Thread(target=self.call, args=(message["id"], params), daemon=True).start()
            return
        else:
            self.send({"id": message["id"], "error": {"code": -32601, "message": f"no {method}"}})
            return
        self.send({"id": message["id"], "result": result})

    def page(self, cursor: str | None) -> dict:
        number = int(cursor or 0)
        names = list(TOOLS) if number == 0 else [f"page{number}"]
        tools = [
            {
                "name": name,
                "description": f"{name} of unruly",
                "inputSchema": {
                    "type": "object",
                    "properties": TOOLS.get(name, {}),
                    "required": list(TOOLS.get(name, {})),
                    "additionalProperties": False,
                },
            }
            for name in names
        ]
        last = self.options.pages >= 0 and number + 1 >= self.options.pages
        return {"tools": tools} if last else {"tools": tools, "nextCursor": str(number + 1)}

    def call(self, request_id: int, params: dict) -> None:
        name, arguments = params["name"], params.get("arguments", {})
        self.calls += 1
        self.log(f"run {name}")
        is_error = False
        match name:
            case "echo":
                text = arguments["text"]
            case "add" if not all(isinstance(arguments.get(name), int) for name in "ab"):
                text, is_error = "unruly adds integers a and b alone", True
            case "add":
                text = str(arguments["a"] + arguments["b"])
            case "count":
                text = str(self.calls)
            case "pid":
                text = str(os.getpid())
            case "sleep":
                sleep(arguments["seconds"], arguments.get("until"))
                text = "slept"
            case "crash":
                print(self.options.last_words, end="", file=sys.stderr, flush=True)
                if self.options.exit_delay:
                    os.close(1)
                    os.close(2)
                    time.sleep(self.options.exit_delay)
                os._exit(arguments["code"])
            case "flood":
                text = "x" * arguments["bytes"]
            case "environment":
                text = os.environ.get(arguments["name"], "(not set)")
            case _:
                text, is_error = "it failed on purpose", True
        self.send({"id": request_id, "result": {"content": [{"type": "text", "text": text}], "isError": is_error}})


def main() -> None:
    options = parse()
    if options.last_words:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(os.write(2, options.last_words.encode()) and 1))
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.stdout:
        print(options.stdout, flush=True)
    if options.stderr:
        print(options.stderr, file=sys.stderr, flush=True)
    if options.stderr_bytes:
        sys.stderr.write("e" * options.stderr_bytes)
        sys.stderr.flush()
    if options.helper:
        leave_helper(options.helper, options.helper_ignores_sigterm)
    time.sleep(options.start_delay)
    if options.exit is not None:
        sys.exit(options.exit)
    Server(options).serve()
    if options.ignore_eof:
        while True:
            time.sleep(1000)


if __name__ == "__main__":
    main()
