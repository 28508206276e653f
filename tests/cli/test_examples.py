"""The examples in the help of every command are run as they are written, by somebody who has the servers in them.

Each begins in the same home and project. Only the port 8000 is replaced, by one that is free, and the address of the
database.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from examples.stateful_servers import postgres
from tests.auth.conftest import protected, workshop
from tests.postgres import running_postgres

from jackfield.cli.examples import EXAMPLES

from ..conftest import MARK, TOKEN, needs
from ..forked import launchers
from .conftest import Command, write_servers
from .test_auth import Start, browser
from .test_registry import Registry, running

__all__ = ["browser", "protected", "workshop"]

SIGNS_IN = "jackfield auth crm"
"""An example whose server is a protected one, and whose person consents to everything in a browser."""

MIGRATES = "jackfield serving migrate --postgres postgresql://app@localhost/app"
"""An example with a database, which is at another place here."""

BEFORE = {
    "jackfield config trust": "rm ~/.state/jackfield/trust.json",
    "jackfield config trust arxiv --yes": "rm ~/.state/jackfield/trust.json",
    "jackfield config add files -- npx -y @modelcontextprotocol/server-filesystem .": "jackfield config remove files",
    "jackfield close browser": "jackfield open browser",
    "jackfield close --all": "jackfield open browser --key ada --idle 3600",
    "jackfield generate python arxiv --check arxiv_client.py": "jackfield generate python arxiv -o arxiv_client.py",
    "jackfield uninstall claude-code": "jackfield install claude-code --yes",
    "jackfield uninstall cursor --yes": "jackfield install cursor --yes",
    "jackfield replay trace.jsonl": "jackfield record arxiv -o trace.jsonl",
    "jackfield replay trace.jsonl --http 8000 --speed 1": "jackfield record arxiv -o trace.jsonl",
    **{
        line: "jackfield serve-token add ada --token-file tokens.json"
        for name in ("serve-token list", "serve-token remove")
        for line in EXAMPLES[name]
    },
}
"""What somebody did before an example."""

AFTER = {
    "source <(jackfield completion bash)": "complete -p jackfield",
    "jackfield completion fish | source": "complete -C 'jackfield lin' | grep lint",
}
"""What the same shell can do after an example; alone, bash says nothing of a command that failed within `<( )`."""

ASKED = {
    "jackfield add io.github.ada/weather": "Add it to",
    "jackfield config trust": "Accept?",
}
"""What an example asks, as often as it does, before it goes on; the answer is yes."""

LIVE = {
    "jackfield shell": "\x1b[?2004h",
    "jackfield ps --watch": "No session is open",
    "jackfield top": "CALLS/S",
}
"""Examples that go on until Ctrl-C (Ctrl-D for the shell), and what the terminal is sent first."""

PIPED = ("jackfield serve --stdio", "jackfield record arxiv -o trace.jsonl", "jackfield replay trace.jsonl")
"""Examples that serve the program that starts them, until it closes the pipe."""

MAX_SECONDS = 60

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "reader", "version": "1"},
    },
}

SERVER = '''
from typing import Annotated

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations
from pydantic import Field

server = MCPServer("Library", instructions="Search first.")
READ_ONLY = ToolAnnotations(read_only_hint=True)
Words = Annotated[str, Field(description="Some words.")]
Number = Annotated[int, Field(description="A number.")]


@server.tool(annotations=READ_ONLY)
async def search_papers(query: Words, limit: Number = 5) -> str:
    """Search papers by words."""
    await anyio.sleep(0.1)
    return query


@server.tool(annotations=READ_ONLY)
def get_paper(paper_id: Words) -> str:
    """Read one paper."""
    return paper_id


@server.tool(annotations=READ_ONLY)
def list_notes() -> str:
    """List all notes."""
    return "none"


@server.tool(annotations=READ_ONLY)
def add_item(title: Words) -> str:
    """Add an item to the list of things to do."""
    return title


@server.tool(annotations=READ_ONLY)
async def add(a: Number, b: Number) -> int:
    """Add two numbers."""
    await anyio.sleep(0.1)
    return a + b


@server.resource("arxiv://categories")
def categories() -> str:
    """All categories."""
    return "cs.CL"


@server.prompt()
def compare_papers(first_id: str, second_id: str) -> str:
    """Asks for a comparison."""
    return f"{first_id} or {second_id}?"


if __name__ == "__main__":
    server.run("stdio")
'''


class Reader:
    """Somebody who tries the examples."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.command = Command(folder)
        self.project = self.command.project
        self.kept = folder / "kept"
        self.environment = self.command.environment
        self.database = ""
        self.environment |= {
            "PATH": f"{launchers()}:{self.environment['PATH']}",
            "JACKFIELD_REGISTRY": registry,
            "PROMPT_TOOLKIT_NO_CPR": "1",  # this terminal does not say where its cursor is
        }
        (self.project / "server.py").write_text(SERVER)
        entry = {"command": "python3", "args": [str(self.project / "server.py")], "env": {MARK: TOKEN}}
        self.command.configure_user(notes=entry, browser=entry, files=entry)
        write_servers(self.project / "mcp.json", {"arxiv": entry})
        write_servers(self.project / "jackfield.json", {"files": entry})
        write_servers(self.command.home / ".cursor" / "mcp.json", {"tickets": entry})
        self.command.accept()
        assert self.run("jackfield refresh") == 0
        shutil.copytree(self.command.home, self.kept)

    def begin_again(self) -> None:
        """The home and the project are as they were."""
        shutil.rmtree(self.command.home)
        shutil.copytree(self.kept, self.command.home)

    def run(self, line: str) -> int:
        """Run an example as it has to be run; returns its exit code."""
        if line in PIPED:
            return self.in_pipe(line)
        served = line.replace(" --http 8000", " --http 0")
        moved = served.replace("postgresql://app@localhost/app", self.database)
        shell = "fish" if "fish" in line else "bash"
        terminal: pexpect.spawn[str] = pexpect.spawn(
            shell,
            ["-c", f"{moved}\n{AFTER[line]}" if line in AFTER else moved],
            dimensions=(40, 100),
            env=self.environment,  # type: ignore[arg-type]
            cwd=str(self.project),
            encoding="utf-8",
            timeout=MAX_SECONDS,
        )
        terminal.delaybeforesend = None
        try:
            if line in ASKED:
                terminal.expect_exact(ASKED[line])
                terminal.sendline("y")
                while terminal.expect_exact([ASKED[line], pexpect.EOF]) == 0:
                    terminal.sendline("y")
            elif line in LIVE:
                terminal.expect_exact(LIVE[line])
                terminal.sendeof() if line == "jackfield shell" else terminal.sendintr()
            elif served != line:
                terminal.expect(r"http://127\.0\.0\.1:\d+/\S*")
                assert terminal.match
                self.over_http(terminal.match.group())
                terminal.sendintr()
            print(line, terminal.read(), sep="\n")
            terminal.wait()
        finally:
            terminal.ptyproc.delayafterclose = 0
            terminal.close(force=True)
        assert terminal.exitstatus is not None, line
        return terminal.exitstatus

    def in_pipe(self, line: str) -> int:
        with subprocess.Popen(
            ["bash", "-c", line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=self.project,
        ) as process:
            assert process.stdin
            assert process.stdout
            timer = threading.Timer(MAX_SECONDS, process.kill)
            timer.start()
            process.stdin.write(f"{json.dumps(INITIALIZE)}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            process.stdin.close()
            process.wait()
            timer.cancel()
            timer.join()
        assert "serverInfo" in json.loads(answer)["result"], line
        return process.returncode

    def over_http(self, url: str) -> None:
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        request = urllib.request.Request(url, json.dumps(INITIALIZE).encode(), headers)
        with urllib.request.urlopen(request, timeout=MAX_SECONDS) as response:
            assert b"serverInfo" in response.read()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with running(Registry()) as registry:
        yield Reader(tmp_path_factory.mktemp("reader"), registry.url)


@pytest.fixture
def crm(reader: Reader, protected: Start, browser: dict[str, str]) -> Callable[[], None]:
    """Configures the server that the example of a sign-in is about."""
    reader.environment |= browser

    def configure() -> None:
        assert reader.run(f"jackfield config add crm --http {protected().url}") == 0

    return configure


@pytest.mark.parametrize("command", EXAMPLES)
def test_examples(command: str, reader: Reader, crm: Callable[[], None]) -> None:
    for line in EXAMPLES[command]:
        if line == MIGRATES:
            needs(postgres.missing())
            with running_postgres() as running:
                reader.database = running.url
                assert reader.run(line) == 0
            continue
        if "fish" in line and not shutil.which("fish"):
            pytest.skip("fish is not installed; the example for bash was run")
        reader.begin_again()
        if line == SIGNS_IN:
            crm()
        if line in BEFORE:
            assert reader.run(BEFORE[line]) == 0
        interrupted = line in LIVE.keys() - {"jackfield shell"} or " --http 8000" in line
        try:
            assert reader.run(line) == (130 if interrupted else 0), line
            for file in re.findall(r"(?:-o|--plot|--check) (\S+)", line):
                assert (reader.project / file).stat().st_size > 0, line
        finally:
            if command in ("open", "close"):
                reader.run("jackfield close --all")


def test_every_exception_is_about_an_example() -> None:
    lines = {line for group in EXAMPLES.values() for line in group}
    assert {SIGNS_IN, MIGRATES, *BEFORE, *AFTER, *ASKED, *LIVE, *PIPED} <= lines
