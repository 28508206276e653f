"""An MCP server over stdio that writes any line a test asks for. Standard library only.

`odd` writes the argument `line` (hexadecimal; ID stands for the request's id) in the place of its answer, `ask` sends a
request of its own first and gives what came back, `echo` gives its arguments.

    raw_stdio.py [ENCODING [stops]]

With `stops` it reads nothing after its first call.
"""

import json
import sys
import time

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("odd", "ask", "echo")]
ABOUT = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "raw", "version": "1"}}
asking = None


def send(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def answer(to: object, result: object) -> None:
    send(json.dumps({"jsonrpc": "2.0", "id": to, "result": result}).encode())


def text(to: object, words: object) -> None:
    answer(to, {"content": [{"type": "text", "text": json.dumps(words)}]})


encoding = sys.argv[1] if len(sys.argv) > 1 else "utf-8"
for read in sys.stdin.buffer:
    message = json.loads(read.decode(encoding))
    method, to = message.get("method"), message.get("id")
    if method is None:
        text(asking, message.get("result") or message.get("error"))
    elif method == "initialize":
        answer(to, ABOUT)
    elif method == "tools/list":
        answer(to, {"tools": TOOLS})
    elif method == "tools/call" and message["params"]["name"] == "ask":
        asking = to
        params = {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}
        send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": params}).encode())
    elif method == "tools/call" and message["params"]["name"] == "odd":
        send(bytes.fromhex(message["params"]["arguments"]["line"]).replace(b"ID", str(to).encode()))
    elif to is not None:
        text(to, message["params"].get("arguments"))
        if sys.argv[2:] == ["stops"]:
            time.sleep(1000)
