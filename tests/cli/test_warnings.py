"""No warning, and nothing left to warn of at exit, however strictly Python looks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import MARK, SERVERS, TOKEN, quick_python
from tests.daily import daily

SERVER = f"PYTHON {SERVERS / 'everything.py'}"
"""Where `PYTHON` stands for one that starts quickly: the server is not what is looked at."""

DEVELOPMENT = ["-X", "dev", "-W", "error"]

SCRIPT = f"""
import asyncio, sys
from jackfield import MCPClientSessionManager, StdioConfig

server = StdioConfig(server_name="s", command="PYTHON", args=[{str(SERVERS / "everything.py")!r}])

async def main():
    async with MCPClientSessionManager() as manager:
        async with manager.open_session(server) as session:
            await session.list_tools()
        async with manager.open_session(server, key="k") as session:
            await session.list_tools()

asyncio.run(main())
"""


@pytest.mark.parametrize("strict", daily([DEVELOPMENT], whole=[DEVELOPMENT, DEVELOPMENT[2:]]), ids=" ".join)
@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import jackfield; [getattr(jackfield, name) for name in jackfield.__all__]"],
        ["-c", SCRIPT],
        ["-m", "jackfield", "--help"],
        ["-m", "jackfield", "list"],
        ["-m", "jackfield", "find", "echo"],
        ["-m", "jackfield", "call", "--stdio", SERVER, "echo", "text=hi"],
    ],
    ids=["import", "script", "help", "list", "find", "call"],
)
def test_nothing_is_warned_of(
    arguments: list[str], strict: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, TOKEN)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "0")  # which tells of slow steps, on whatever machine this is
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"s": {"command": sys.executable, "args": ["-V"]}}}))
    if "-m" in arguments:
        arguments = [*arguments[:2], "--config", str(config), *arguments[2:]]
    arguments = [word.replace("PYTHON", quick_python()) for word in arguments]
    ran = subprocess.run([sys.executable, *strict, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert "Warning" not in ran.stderr, ran.stderr
    assert "Traceback" not in ran.stderr, ran.stderr
    assert ran.returncode in ({0, 1, 2} if "find" in arguments else {0}), ran.stderr
