"""Sessions over HTTP need nothing that Windows lacks, and servers over stdio are refused there in words.

Nobody here has Windows: the program runs without the modules and functions of Unix that Jackfield uses elsewhere.
"""

from __future__ import annotations

import subprocess
import sys

from tests.docs.blocks import ROOT

PROGRAM = """
import os, signal, sys

import anyio._backends._asyncio, httpx2, mcp  # what others import of Unix, they do not import on Windows

for name in ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
for name in ("fork", "getpgid", "getuid", "killpg", "pidfd_open", "register_at_fork", "setsid", "waitid"):
    delattr(os, name)
for name in ("SIGHUP", "SIGKILL"):
    delattr(signal, name)

here, sys.platform = sys.platform, "win32"
import jackfield.transport.connection

sys.platform = here  # others look at it at run time, too
import asyncio

from jackfield import ConfigError, HttpConfig, MCPClientSessionManager, StdioConfig


async def main():
    async with MCPClientSessionManager() as manager:
        async with manager.open_session(HttpConfig(server_name="notes", url=sys.argv[1])) as session:
            print((await session.call_tool("open_notebook", {"name": "mine"})).data["name"])
        sys.platform = "win32"
        try:
            await manager.open_session(StdioConfig(server_name="notes", command="python")).__aenter__()
        except ConfigError as error:
            print(error)


asyncio.run(main())
"""


def test_http_works_without_what_windows_lacks() -> None:
    server = [sys.executable, "examples/research_assistant/servers/notes_server.py", "streamable-http"]
    with subprocess.Popen(server, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            url = process.stdout.readline().split()[1]
            program = [sys.executable, "-c", PROGRAM, url]
            done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
        finally:
            process.terminate()
    assert done.returncode == 0, done.stderr
    name, refusal, hint = done.stdout.splitlines()
    assert (name, refusal) == ("mine", "stdio servers are not supported on Windows yet.")
    assert "HttpConfig" in hint
