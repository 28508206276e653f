"""An MCP server over stdio that keeps a transaction for its session. Standard library only, so that it starts quickly.

    ledger.py FILE    the SQLite database; `execute` runs a statement on the session's connection, `rows` only reads.

It answers with structured content, too. As `fail`, a statement is a tool's own error; as `die`, the process ends.
"""

import json
import os
import sqlite3
import sys

TOOLS = [
    {"name": "execute", "inputSchema": {"type": "object", "properties": {"sql": {"type": "string"}}}},
    {"name": "rows", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
]


def call(database: sqlite3.Connection, name: str, arguments: dict) -> dict:
    sql = "SELECT x FROM t ORDER BY x" if name == "rows" else arguments["sql"]
    if sql == "die":
        os._exit(1)
    try:
        rows = [row[0] for row in database.execute(sql)]
    except sqlite3.Error as error:
        return {"content": [{"type": "text", "text": str(error)}], "isError": True}
    return {"content": [{"type": "text", "text": json.dumps({"rows": rows})}], "structuredContent": {"rows": rows}}


def main() -> None:
    database = sqlite3.connect(sys.argv[1], isolation_level=None)
    database.execute("CREATE TABLE IF NOT EXISTS t (x)")
    info = {"serverInfo": {"name": "ledger", "version": "1"}, "capabilities": {"tools": {}, "resources": {}}}
    uri = {"uri": "ledger://t"}
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        params = message.get("params", {})
        match message["method"]:
            case "initialize":
                result = {"protocolVersion": "2025-11-25", **info}
            case "tools/list":
                result = {"tools": TOOLS}
            case "tools/call":
                result = call(database, params["name"], params.get("arguments") or {})
            case "resources/list":
                result = {"resources": [{**uri, "name": "t"}]}
            case "resources/read":
                result = {"contents": [{**uri, "text": "a table"}]}
            case "resources/templates/list":
                result = {"resourceTemplates": []}
            case "ping":
                result = {}
            case _:
                print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}}))
                sys.stdout.flush()
                continue
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)


main()
