"""What it takes a client to see what thirty servers offer, with none of them open.

    python -m benchmarks.gateway.listing

Ten of the servers are real ones of npm and PyPI, as far as `make third-party` has installed them; the others are small.
A gateway runs over HTTP. Its catalog learns them once; then clients connect, and list tools, prompts and resources.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
from tests.serving.cluster.cluster import free_port, running, until_listens

from jackfield import Catalog, HttpConfig, MCPClientSessionManager, MCPConfig, Session

from ..arena import HERE

ROOT = Path(__file__).parents[2]
THIRD_PARTY = ROOT / ".third_party"
SERVERS = 30
ROUNDS = 20


def real_servers(folder: Path) -> dict[str, dict[str, Any]]:
    """The real servers that are installed."""
    (folder / "repository").mkdir()
    subprocess.run(["git", "init", "-q", str(folder / "repository")], check=True)
    npm, sdk1, sdk2 = THIRD_PARTY / "npm/node_modules/.bin", THIRD_PARTY / "sdk1/bin", THIRD_PARTY / "sdk2/bin"
    commands: dict[str, list[str]] = {
        "everything": [str(npm / "mcp-server-everything")],
        "filesystem": [str(npm / "mcp-server-filesystem"), str(folder)],
        "memory": [str(npm / "mcp-server-memory")],
        "thinking": [str(npm / "mcp-server-sequential-thinking")],
        "playwright": [str(npm / "playwright-mcp")],
        "time": [str(sdk2 / "mcp-server-time")],
        "fetch": [str(sdk2 / "mcp-server-fetch")],
        "calculator": [str(sdk1 / "mcp-server-calculator")],
        "git": [str(sdk2 / "mcp-server-git"), "--repository", str(folder / "repository")],
        "sqlite": [str(sdk1 / "mcp-server-sqlite"), "--db-path", str(folder / "data.db")],
    }
    path = os.pathsep.join([str(ROOT / ".venv/bin"), os.environ["PATH"]])
    return {
        name: {"command": words[0], "args": words[1:], "env": {"PATH": path}}
        for name, words in commands.items()
        if Path(words[0]).exists()
    }


def small_server(folder: Path, number: int) -> dict[str, Any]:
    """A server of ten tools."""
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    tools = [{"name": f"tool_{one}", "description": "Does it", "inputSchema": schema} for one in range(10)]
    script = str(ROOT / "tests/servers/scripted.py")
    results = json.dumps({"tools/list": {"tools": tools}})
    log = str(folder / f"small{number}.log")
    return {"command": sys.executable, "args": ["-S", script, "stdio", "--results", results, "--log", log]}


async def listed(session: Session) -> int:
    """All listings of a gateway; how many entries."""
    tools, prompts = await session.list_tools(), await session.list_prompts()
    return len(tools.tools) + len(prompts.prompts) + len((await session.list_resources()).resources)


async def _warm(folder: Path) -> None:
    """Use the client once without the gateway: what its first use costs is not the gateway's."""
    port = free_port()
    log = folder / "bare.log"
    with running([sys.executable, str(HERE / "bare_server.py"), "10", str(port)], log, {}) as process:
        await until_listens(port, process, log)
        bare = HttpConfig(server_name="bare", url=f"http://127.0.0.1:{port}/mcp", protocol="handshake")
        async with MCPClientSessionManager(catalog=Catalog(folder / "bare")).open_session(bare) as session:
            await session.list_tools()


async def measure(folder: Path, servers: dict[str, dict[str, Any]]) -> None:
    """Run a gateway, and print what its clients wait for."""
    file = folder / "servers.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    environment = {
        **os.environ,
        "JACKFIELD_CACHE_DIR": str(folder / "cache"),
        "JACKFIELD_STATE_DIR": str(folder / "state"),
    }
    os.environ |= environment
    started = time.perf_counter()
    async with MCPClientSessionManager(MCPConfig.load(file)) as manager:
        refresh = await manager.refresh_catalog()
    print(f"learnt once: {time.perf_counter() - started:.1f} s; failed: {', '.join(refresh.errors) or 'none'}")
    command = [
        sys.executable,
        "-m",
        "jackfield",
        "--config",
        str(file),
        "serve",
        "--http",
        "127.0.0.1:0",
        "--all-tools",
    ]
    gateway = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert gateway.stdout is not None
        config = HttpConfig(server_name="gateway", url=gateway.stdout.readline().strip(), protocol="handshake")
        await _warm(folder)
        seconds: list[float] = []
        count = 0
        for _ in range(ROUNDS + 1):
            started = time.perf_counter()
            async with MCPClientSessionManager(catalog=Catalog(folder / "own")).open_session(config) as session:
                count = await listed(session)
                seconds.append(time.perf_counter() - started)
        warm = sorted(seconds[1:])
        print(
            f"{len(servers)} servers, {count} entries: first client {seconds[0] * 1000:.0f} ms, then "
            f"{statistics.median(warm) * 1000:.0f} ms (p50), {warm[int(len(warm) * 0.95) - 1] * 1000:.0f} ms (p95)"
        )
    finally:
        gateway.terminate()
        gateway.wait(30)


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = real_servers(folder)
        print(f"real servers: {', '.join(servers) or 'none'}")
        for number in range(SERVERS - len(servers)):
            servers[f"small{number}"] = small_server(folder, number)
        anyio.run(measure, folder, servers)


if __name__ == "__main__":
    main()
