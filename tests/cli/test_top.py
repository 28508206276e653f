"""`jackfield top` in a real terminal, with a background process, a gateway and a program that opted in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pyte
import pytest

from jackfield.cli.processes import HeldSession, HoldingProcess
from jackfield.cli.top_view import TopView, sparkline

from ..conftest import eventually, strays
from .conftest import Command, unruly_entry

PROGRAM = """
import asyncio, json, sys
from jackfield import MCPClientSessionManager, StdioConfig

async def main(file):
    line = ["-m", "jackfield", "serve", "--stdio"]
    gateway = StdioConfig(server_name="gateway", command=sys.executable, args=line, inherit_environment=True)
    async with MCPClientSessionManager(file) as manager:
        async with manager.open_session("plain", key="alice") as plain, manager.open_session(gateway) as through:
            await through.call_tool("call_tool", {"tool": "plain.count", "arguments": {}})
            for _ in range(3):
                await plain.call_tool("count")
            while True:
                print(json.dumps((await plain.call_tool("count")).generation), flush=True)
                if not await asyncio.to_thread(sys.stdin.readline):
                    return

asyncio.run(main(sys.argv[1]))
"""


class Screen:
    """A terminal with `jackfield top`, and what is to be seen on it."""

    def __init__(self, terminal: pexpect.spawn[str]) -> None:
        self.terminal = terminal
        rows, columns = terminal.getwinsize()
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self.screen)

    def read(self) -> list[str]:
        """The lines as they are now."""
        try:
            while True:
                self._stream.feed(self.terminal.read_nonblocking(65536, timeout=0.05))
        except (pexpect.TIMEOUT, pexpect.EOF):
            return [line.rstrip() for line in self.screen.display]

    def wait_for(self, condition: Callable[[str], bool], seconds: float = 20.0) -> str:
        """The screen once a condition holds."""
        until = time.monotonic() + seconds
        while not condition(text := "\n".join(self.read())):
            assert time.monotonic() < until, text
        return text

    def choose(self, row: str) -> None:
        """Go down, or up, to the line that has this text."""
        self.wait_for(lambda text: row in text)
        lines = [line for line in self.read() if "MiB" in line or line.startswith(">")]
        now = next(index for index, line in enumerate(lines) if line.startswith(">"))
        wanted = next(index for index, line in enumerate(lines) if row in line)
        self.terminal.send("\x1b[B" * (wanted - now) + "\x1b[A" * (now - wanted))
        self.wait_for(lambda text: any(line.startswith(">") and row in line for line in text.splitlines()))

    def confirm(self, key: str, question: str, done: str) -> None:
        """Do something, and say yes to the question."""
        self.terminal.send(key)
        self.wait_for(lambda text: question in text and "(y/n)" in text)
        self.terminal.send("y")
        self.wait_for(lambda text: done in text)


@pytest.fixture
def program(jackfield: Command) -> Iterator[subprocess.Popen[str]]:
    """A program with a session of its own, and one with a gateway that has one; and a background process with one."""
    jackfield.python = sys.executable
    file = jackfield.configure_user(plain=unruly_entry())
    assert jackfield("open", "plain").exit_code == 0
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=jackfield.project,
        env={**jackfield.environment, "JACKFIELD_OBSERVABLE": "1"},
    )  # fmt: skip
    assert program.stdout
    assert program.stdout.readline() == "1\n"
    yield program
    if program.poll() is None:
        program.kill()
    program.communicate(timeout=20)
    jackfield("close", "--all")
    assert eventually(lambda: strays() == [])


def held(jackfield: Command) -> dict[str, Any]:
    """The processes that hold sessions, by their kind."""
    return {process["kind"]: process for process in jackfield("top", "--json").json["processes"]}


def sockets(jackfield: Command) -> list[Path]:
    return sorted((jackfield.home / ".run" / "jackfield").glob("*.sock"))


def test_all_that_hold_sessions_are_seen_and_act(jackfield: Command, program: subprocess.Popen[str]) -> None:
    assert program.stdin
    assert program.stdout
    gateway = held(jackfield)["gateway"]["pid"]
    assert {path.stat().st_mode & 0o777 for path in sockets(jackfield)} == {0o600}
    table = [line.split("\t") for line in jackfield("top").stdout.splitlines()]
    assert {(row[0], row[2], row[3]) for row in table} >= {("background process", "plain", "default")}
    assert ("python", "plain", "alice", "4") in {(row[0], row[2], row[3], row[5]) for row in table}
    assert all(row[8].endswith(" MiB") for row in table if row[2] == "plain")

    terminal = jackfield.spawn("top", columns=80)
    before = termios.tcgetattr(terminal.child_fd)
    screen = Screen(terminal)
    text = screen.wait_for(lambda text: all(f"{name}" in text for name in (gateway, program.pid, "background")))
    assert f"gateway {gateway}" in text
    assert f"python {program.pid}" in text
    assert "3 processes, 4 sessions" in text
    assert "SERVER" in text

    # Nothing is done without a yes.
    screen.choose("alice")
    terminal.send("c")
    screen.wait_for(lambda text: "Close plain (alice)" in text)
    terminal.send("x")
    screen.wait_for(lambda text: "Nothing was changed." in text)
    screen.confirm("r", "Refresh plain (alice) of python", "Refreshed plain (alice).")
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.stdout.readline() == "2\n"
    screen.wait_for(lambda text: "Last error" in text or "reopened by refresh" in text)

    screen.choose("client-")
    screen.confirm("c", f"of gateway {gateway}", "Closed plain (client-")
    screen.choose("default")
    screen.confirm("r", "of background process", "Refreshed plain (default).")
    screen.confirm("c", "of background process", "Closed plain (default).")
    assert jackfield("ps", "--json").json["sessions"] == []
    assert held(jackfield)["gateway"]["sessions"] == []

    # One that hangs holds up nobody, and is shown as it was.
    program.send_signal(signal.SIGSTOP)
    text = screen.wait_for(lambda text: f"python {program.pid} has not answered for" in text)
    assert "alice" in text
    assert f"gateway {gateway}" in text
    # One that is killed disappears, and so does its socket.
    program.kill()
    screen.wait_for(lambda text: str(program.pid) not in text and str(gateway) not in text)
    assert eventually(lambda: all(path.name == "keeper.sock" for path in sockets(jackfield)))

    terminal.send("q")
    screen.terminal.expect(pexpect.EOF)
    assert "\x1b[?1049l" in screen.terminal.before
    assert termios.tcgetattr(terminal.child_fd) == before
    terminal.close()
    assert terminal.exitstatus == 0


def test_ctrl_c_and_signals_leave_the_terminal_as_it_was(jackfield: Command) -> None:
    for end, code in ((lambda terminal: terminal.sendintr(), 130), (lambda terminal: terminal.kill(15), 143)):
        terminal = jackfield.spawn("top")
        before = termios.tcgetattr(terminal.child_fd)
        screen = Screen(terminal)
        screen.wait_for(lambda text: "No process with visible sessions is running." in text)
        end(terminal)
        terminal.expect(pexpect.EOF)
        assert "\x1b[?1049l" in terminal.before
        assert "Traceback" not in terminal.before
        assert termios.tcgetattr(terminal.child_fd) == before
        terminal.close()
        assert terminal.exitstatus == code


def test_where_there_is_nothing(jackfield: Command) -> None:
    jackfield.python = sys.executable
    done = jackfield("top")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "JACKFIELD_OBSERVABLE=1" in done.stderr
    assert jackfield("top", "--json").json == {"processes": []}
    jackfield.configure_user(plain=unruly_entry())
    environment = jackfield.environment
    for wanted, says in (("", "The gateway {} has no session open.\n"), ("0", None)):
        gateway = subprocess.Popen(
            jackfield.line("serve", "--http", "0"), cwd=jackfield.project,
            stdout=subprocess.PIPE, text=True, env={**environment, "JACKFIELD_OBSERVABLE": wanted},
        )  # fmt: skip
        assert gateway.stdout
        assert gateway.stdout.readline().startswith("http://")
        done = jackfield("top", "--once")
        assert done.stdout == ""
        assert len(sockets(jackfield)) == (says is not None)
        assert done.stderr == says.format(gateway.pid) if says is not None else "No process" in done.stderr
        gateway.send_signal(signal.SIGTERM)
        gateway.communicate(timeout=20)
        assert sockets(jackfield) == []


# What is drawn


def facts(**changed: Any) -> dict[str, Any]:
    return {
        "id": "1", "server": "notes", "key": "alice", "state": "idle", "pid": None, "calls": 7, "errors": 1,
        "recent": [0] * 55 + [5] * 5, "last_error": {"server": "notes", "text": "tool_error: x", "at": time.time()},
    } | changed  # fmt: skip


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (60, 12), (40, 6), (200, 50)])
def test_it_fits_the_terminal(columns: int, rows: int) -> None:
    long = facts(id="2", server="a-server-with-a-very-long-name" * 3, key="配" * 40, last_error=None)
    sessions = [HeldSession("a", facts()), HeldSession("a", long)]
    sessions += [HeldSession("a", facts(id=str(number))) for number in range(3, 60)]
    process = HoldingProcess("a", 12, {"kind": "program", "program": "agent.py", "age": 70}, sessions)
    view = TopView([process])
    for _ in range(59):
        lines = view.lines(columns, rows)
        assert len(lines) == rows
        screen = pyte.Screen(columns + 40, rows)
        stream = pyte.Stream(screen)
        stream.feed("\r\n".join(line for _, line in lines))
        assert all(len(line.rstrip()) <= columns for line in screen.display)
        assert sum(line.startswith(">") for _, line in lines) == 1
        view.move(1)
    assert view.chosen == ("a", "59")
    # The chosen one has gone: the one in its place is chosen.
    del sessions[-1]
    assert view.chosen_session() is sessions[-1]


def test_the_last_minute() -> None:
    assert sparkline([], 10) == ""
    assert sparkline([0, 0, 0, 0], 4) == "    "
    assert sparkline([0, 1, 4, 8], 4) == " ▁▄█"
    assert sparkline([1] * 60, 14) == "█" * 12
    assert sparkline([0] * 59 + [1], 14) == " " * 11 + "█"
    assert sparkline([1, 0, 8], 9, "_.:-=+*#") == "_ #"


def test_what_is_said_of_processes() -> None:
    silent = HoldingProcess("a", 12, silent_since=time.monotonic() - 65)
    idle = HoldingProcess("b", 13, {"kind": "gateway", "age": 3})
    view = TopView([silent, idle], message="Closed.")
    text = "\n".join(line for _, line in view.lines(80, 24))
    assert "process 12 has not answered for 1 min" in text
    assert "gateway 13, 3 s\n  no session" in text
    assert "Closed." in text
    older = HeldSession("c", {key: value for key, value in facts().items() if key not in ("id", "recent")})
    view = TopView([HoldingProcess("c", 14, {"version": "0.1"}, [older])], can_draw_bars=False)
    assert "background process 14" in "\n".join(line for _, line in view.lines(80, 24))
    assert json.dumps(older.calls_per_second) == "null"
    assert os.linesep not in view.lines(80, 24)[0][1]
