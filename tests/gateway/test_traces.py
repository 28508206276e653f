"""Traces through a gateway: its spans join those of the client, and the server behind it joins them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.cli.conftest import Command
from tests.conftest import quick_python
from tests.serving.authorized import MODERN_META, Client, answer_of, modern_headers, text_of

SERVER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    method, params = message.get("method"), message.get("params", {})
    if "id" not in message:
        continue
    result = {}
    if method == "initialize":
        about = {"name": "m", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": about}
    elif method == "tools/list":
        result = {"tools": [{"name": "meta", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": json.dumps(params.get("_meta", {}))}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""

TRACED = """
import json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class ToFile(SpanExporter):
    def export(self, spans):
        with open(FILE, "a") as file:
            for span in spans:
                parent = span.parent and format(span.parent.span_id, "016x")
                about = [span.name, format(span.context.trace_id, "032x"), format(span.context.span_id, "016x"), parent]
                print(json.dumps([*about, str(span.kind)]), file=file)
        return SpanExportResult.SUCCESS

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ToFile()))
trace.set_tracer_provider(provider)
from jackfield.cli.app import main
sys.argv = ["jackfield", "serve", "--http", "127.0.0.1:0", "--all-tools", "--log-format", "json"]
main()
"""

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("modern", [False, True])
async def test_the_clients_trace_goes_on_to_the_server(jackfield: Command, tmp_path: Path, modern: bool) -> None:
    server, program, spans = tmp_path / "server.py", tmp_path / "traced.py", tmp_path / "spans"
    server.write_text(SERVER)
    program.write_text(f"FILE = {str(spans)!r}\n{TRACED}")
    jackfield.configure_user(one={"command": quick_python(), "args": [str(server)]})
    process = subprocess.Popen(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=jackfield.environment,
        cwd=jackfield.project,
    )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        params: dict[str, Any] = {"name": "meta", "arguments": {}}
        async with httpx2.AsyncClient(timeout=30) as http:
            client = Client(http, None)
            meta = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
            if modern:
                sent = {**params, "_meta": {**MODERN_META, **meta}}
                answer = await client.request(url, "tools/call", sent, **modern_headers("tools/call", params))
            else:
                await client.initialize(url)
                answer = await client.request(url, "tools/call", {**params, "_meta": meta})
        received = json.loads(text_of(answer_of(answer.text)))
    finally:
        process.terminate()
        stderr = process.communicate(timeout=30)[1]
    _, trace_id, span_id, _ = received["traceparent"].split("-")
    assert trace_id == TRACE
    told = [json.loads(line) for line in spans.read_text().splitlines()]
    by_id = {one[2]: one for one in told if one[1] == TRACE}
    # From the span that the server is told of, up to the client's.
    names = []
    while span_id != SPAN:
        name, _, _, span_id, _ = by_id[span_id]
        names.append(name)
    assert len(names) >= 2
    assert all("meta" in name or "tools/call" in name for name in names)
    [call] = [line for line in map(json.loads, stderr.splitlines()[1:]) if line.get("method") == "tools/call"]
    assert call["trace_id"] == TRACE
