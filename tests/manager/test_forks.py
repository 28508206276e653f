"""A forked child that uses what its parent opened gets an error at once, and its end harms nothing of the parent's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import MARK, TOKEN, Listening, Pushy, quick_python

from jackfield import HttpConfig, StdioConfig

START = """
import asyncio, multiprocessing, os, sys
from jackfield import HttpConfig, JackfieldError, MCPClientSessionManager, StdioConfig

config = {config}

def report(error):
    print(type(error).__name__, getattr(error, "sent", None), "is a fork" in str(error), flush=True)

def in_child(function):
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException as error:
            report(error)
        os._exit(0)
    os.waitpid(pid, 0)
"""

LEAVES = "a child that leaves all blocks"

# What runs in the parent, and what the child should print.
PROGRAMS = {
    "a session": (
        """
async def main():
    async with MCPClientSessionManager() as manager, manager.open_session(config, key="k") as session:
        print((await session.call_tool("work")).text, flush=True)
        for use in (
            lambda: session.call_tool("work"),
            lambda: session.list_tools(),
            lambda: manager.open_session(config, key="k").__aenter__(),
            lambda: manager.open_session(config).__aenter__(),
            lambda: manager.close_session("x", "k"),
            lambda: manager.close_idle(),
            lambda: manager.toolkit([config], key="k"),
            lambda: manager.open_sessions([config], key="k").__aenter__(),
            lambda: manager.refresh_catalog([config]),
        ):
            in_child(lambda: use().send(None))
            in_child(lambda: asyncio.run(use()))
        print((await session.call_tool("work")).text, flush=True)
asyncio.run(main())
""",
        ["done", *["SessionTerminatedError False True"] * 18, "done"],
    ),
    LEAVES: (
        """
async def main():
    async with MCPClientSessionManager() as manager, manager.open_session(config) as session:
        print((await session.call_tool("work")).text, flush=True)
        pid = os.fork()
        if not pid:
            try:
                await session.call_tool("work")
            except JackfieldError as error:
                report(error)
            return
        os.waitpid(pid, 0)
        # asyncio shares what it waits by with a fork, so that no more than this can be said of this loop.
        if session.process_id:
            assert os.waitid(os.P_PID, session.process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    print("left", flush=True)
asyncio.run(main())
""",
        ["done", "SessionTerminatedError False True", "left"],
    ),
    "the blocking twin": (
        """
manager = MCPClientSessionManager()
def use():
    with manager.open_session_sync(config) as own:
        print("own", own.call_tool("work").text, flush=True)
with manager.open_session_sync(config) as session:
    print(session.call_tool("work").text, flush=True)
    in_child(lambda: session.call_tool("work"))
    in_child(use)
    print(session.call_tool("work").text, flush=True)
    pid = os.fork()
if pid:
    os.waitpid(pid, 0)
    print("left", flush=True)
""",
        ["done", "SessionTerminatedError False True", "own done", "done", "left"],
    ),
    "multiprocessing": (
        """
manager = MCPClientSessionManager()
async def use():
    async with manager.open_session(config) as session:
        print("own", (await session.call_tool("work")).text, flush=True)
async def main():
    async with manager.open_session(config) as session:
        print((await session.call_tool("work")).text, flush=True)
        child = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(use()))
        child.start()
        child.join()
        print((await session.call_tool("work")).text, flush=True)
asyncio.run(main())
""",
        ["done", "own done", "done"],
    ),
}


@pytest.mark.parametrize(
    ("transport", "program"),
    # A fork that ends its copy of a loop takes from asyncio's own sockets what the parent's loop waits by.
    [*(("stdio", program) for program in PROGRAMS), *(("http", program) for program in PROGRAMS if program != LEAVES)],
)
def test_a_fork_cannot_use_what_its_parent_opened(
    pushy: Pushy, listening: Callable[..., Listening], tmp_path: Path, transport: str, program: str
) -> None:
    config: StdioConfig | HttpConfig = pushy()
    text = f"StdioConfig(server_name='x', command={config.command!r}, args={config.args!r}, protocol='handshake')"
    if transport == "http":
        server = listening("pushy.py", "--http", "--log", str(pushy.log_file))
        text = f"HttpConfig(server_name='x', url={server.url!r}, protocol='handshake')"
    source, expected = PROGRAMS[program]
    run = subprocess.run(
        [quick_python(), "-c", START.format(config=text) + source],
        env={**os.environ, MARK: TOKEN},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout.split("\n")[:-1] == expected, run.stderr
    assert run.returncode == 0
