"""Counts through how many files of Jackfield four common walks lead, and fails where one is above its limit.

A reader who follows such a walk opens each of these files once. `--files` names them, in the order of the walk.

Run: python scripts/walks.py [--files]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from autogen_core import CancellationToken

import jackfield
from jackfield import JackfieldError, MCPClientSessionManager, MCPConfig, StdioConfig
from jackfield.adapters.autogen_tool import JackfieldTool

LIMITS = {
    "`server`, from `open_session` to the start of its program": 15,
    "a warm AutoGen call and its result": 13,
    "a call whose server is killed, to the text for the model": 16,
    "an entry of a file to its `StdioConfig`": 8,
}

_PACKAGE = str(Path(jackfield.__file__).parent) + "/"
_SECONDS = 30.0

_SERVER = r"""
import json, os, signal, sys
def answer(request):
    if request["method"] == "initialize":
        info = {"name": "walk", "version": "1"}
        return {"protocolVersion": "2025-11-25", "serverInfo": info, "capabilities": {"tools": {}}}
    if request["method"] == "tools/list":
        return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("work", "die")]}
    if request["method"] == "tools/call" and request["params"]["name"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"content": [{"type": "text", "text": "done"}]}
for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": answer(request)}), flush=True)
"""


@dataclass
class Walk:
    """The files that were entered, in the order of their first entry."""

    files: list[str] = field(default_factory=list[str])
    is_over: bool = False

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """The profile hook."""
        file = frame.f_code.co_filename
        if event == "call" and not self.is_over and file.startswith(_PACKAGE):
            name = file.removeprefix(_PACKAGE)
            if name not in self.files:
                self.files.append(name)


_watched: list[Walk] = []


def _end_at_start(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: a walk to the start of a program is over with it."""
    if event == "subprocess.Popen" and _watched and _SERVER in map(str, arguments[1]):
        _watched[0].is_over = True


@contextlib.contextmanager
def walked(*, to_start: bool = False) -> Generator[Walk]:
    """Note which files are entered, on this thread and those that begin meanwhile."""
    walk = Walk()
    if to_start:
        _watched.append(walk)
    threading.setprofile(walk.note)
    sys.setprofile(walk.note)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        _watched.clear()


def configuration() -> StdioConfig:
    """The server of all walks."""
    return StdioConfig(
        server_name="server", command=sys.executable, args=["-S", "-c", _SERVER], protocol="handshake", include=["*"]
    )


async def opening() -> Walk:
    """Open a server for the second time: what is imported late was imported before."""
    async with MCPClientSessionManager(MCPConfig(servers=[configuration()])) as manager:
        async with manager.open_session("server"):
            pass
        with walked(to_start=True) as walk:
            async with manager.open_session("server", key="other"):
                pass
    assert walk.is_over
    return walk


async def _called(tool_name: str, expected: str) -> Walk:
    async with MCPClientSessionManager(MCPConfig(servers=[configuration()])) as manager:
        toolkit = await manager.toolkit()
        tools = {tool.name: tool for tool in toolkit.autogen()}
        # What is imported late is imported by the first calls; the second of "work" finds the session warm.
        for name in (tool_name, "work", "work"):
            await _answer(tools[name])
        with walked() as walk:
            answer = await _answer(tools[tool_name])
    assert expected in answer, answer
    return walk


async def _answer(tool: JackfieldTool) -> str:
    """What AgentChat shows the model."""
    try:
        return tool.return_value_as_string(await tool.run_json({}, CancellationToken()))
    except JackfieldError as error:
        return str(error)


async def calling() -> Walk:
    """Call a tool of an open session through AutoGen."""
    return await _called("work", "done")


async def losing() -> Walk:
    """Call a tool through AutoGen whose server is killed meanwhile."""
    return await _called("die", "ended by signal 9")


def reading() -> Walk:
    """Read a file with one server."""
    entry = {
        "command": sys.executable,
        "args": ["${UNSET:-a}"],
        "env": {"TOKEN": "s3cret-word"},
        "session": {"call_timeout": 5},
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mcp.json"
        file.write_text(json.dumps({"mcpServers": {"server": entry}}))
        MCPConfig.load(file)
        with walked() as walk:
            config = MCPConfig.load(file)
    assert isinstance(config["server"], StdioConfig)
    return walk


async def _all() -> list[Walk]:
    async with asyncio.timeout(_SECONDS):
        return [await opening(), await calling(), await losing(), reading()]


def main() -> int:
    """Walk, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", action="store_true", help="name the files")
    options = parser.parse_args()
    sys.addaudithook(_end_at_start)
    is_too_long = False
    for (title, limit), walk in zip(LIMITS.items(), asyncio.run(_all()), strict=True):
        print(f"{len(walk.files):3} files (limit {limit}): {title}")
        if options.files or len(walk.files) > limit:
            print("\n".join(f"      {name}" for name in walk.files))
        is_too_long |= len(walk.files) > limit
    return int(is_too_long)


if __name__ == "__main__":
    sys.exit(main())
