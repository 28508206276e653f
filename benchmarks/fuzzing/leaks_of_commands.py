"""The same search in what the command prints, in the background process's files, and through a gateway."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jackfield import HttpConfig, JackfieldError, MCPClientSessionManager, SessionConfig

from .leaks import CHILD, CHILDREN, Exits, Leak, Secrets

COMMANDS = (
    ("--verbose", "call", "fuzzed", "work"),
    ("--json", "--verbose", "call", "fuzzed", "work"),
    ("--verbose", "doctor"),
    ("--verbose", "refresh"),
    ("--verbose", "list"),
    ("show", "fuzzed"),
    ("--verbose", "open", "fuzzed"),
    ("--json", "ps"),
    ("--verbose", "close", "fuzzed"),
)
_DATA = ("tool error", "result")
"""Where the command prints what a tool returned."""
_SECONDS = 60


class CommandFuzz:
    """Runs the command on servers that quote what they were given.

    Args:
        seed: Of the dice.
        folder: For files of configurations, the catalog and the state.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self._dice = random.Random(seed)
        self._folder = folder
        self._runs = 0
        self.texts = 0
        """How many texts were searched."""

    def ways(self) -> tuple[str, ...]:
        """All ways in which a server may fail."""
        return CHILDREN

    def run(self, way: str, commands: Sequence[Sequence[str]] = COMMANDS) -> list[Leak]:
        """Commands on one server; what leaked."""
        secrets, exits = Secrets(self._dice), Exits()
        file, environment = self._configured(way, secrets)
        for words in commands:
            if way in _DATA and "call" in words:
                continue
            done = subprocess.run(
                [sys.executable, "-m", "jackfield", "--config", str(file), *words],
                check=False,
                capture_output=True,
                text=True,
                env=environment,
                cwd=file.parent,
                timeout=_SECONDS,
            )
            exits.add(" ".join(words), done.stdout + done.stderr)
        return self._leaks(way, secrets, exits, file.parent)

    async def run_served(self, way: str) -> list[Leak]:
        """One call through `serve --http`; what leaked."""
        secrets, exits = Secrets(self._dice), Exits()
        file, environment = self._configured(way, secrets)
        with _gateway(file, environment, exits) as url:
            config = HttpConfig(server_name="gateway", url=url, session=SessionConfig(timeout=30, call_timeout=30))
            try:
                async with MCPClientSessionManager().open_session(config) as session:
                    for tool, arguments in (
                        ("find_tools", {"query": "work"}),
                        ("call_tool", {"tool": "fuzzed.work", "arguments": {}}),
                    ):
                        if way not in _DATA:
                            exits.add(f"answer of {tool}", repr(await session.call_tool(tool, arguments)))
            except JackfieldError as error:
                exits.add_error(error)
        return self._leaks(f"{way}, served", secrets, exits, file.parent)

    def _configured(self, way: str, secrets: Secrets) -> tuple[Path, dict[str, str]]:
        self._runs += 1
        folder = self._folder / f"command {self._runs}"
        folder.mkdir()
        variables = {"ONE_KEY": secrets.new("env"), "ONE_URL": f"https://u:{secrets.new('inurl', plain=True)}@h/x"}
        entry = {
            "command": "/nonexistent/command" if way == "no command" else sys.executable,
            "args": ["-c", CHILD, way, "--token", secrets.new("option", plain=True), "${ONE_KEY}"],
            "env": {"FUZZ_KEY": "${ONE_KEY}", "FUZZ_URL": "${ONE_URL}", "FUZZ_OTHER": secrets.new("given")},
            "session": {"timeout": 8, "call_timeout": 8, "retry_attempts": 0},
        }
        if way == "no folder":
            entry["cwd"] = "/nonexistent"
        file = folder / "servers.json"
        file.write_text(json.dumps({"mcpServers": {"fuzzed": entry}}).replace("$ONE", "${ONE"))
        own = {"JACKFIELD_STATE_DIR": str(folder / "state"), "JACKFIELD_CACHE_DIR": str(folder / "cache")}
        return file, {**os.environ, **variables, **own}

    def _leaks(self, way: str, secrets: Secrets, exits: Exits, folder: Path) -> list[Leak]:
        exits.add_files("catalog", folder / "cache")
        exits.add_files("state", folder / "state")
        self.texts += len(exits.texts)
        return list(exits.leaks(f"command, {way}", secrets))


@contextmanager
def _gateway(file: Path, environment: dict[str, str], exits: Exits) -> Iterator[str]:
    command = [sys.executable, "-m", "jackfield", "--config", str(file), "--verbose", "serve", "--http", "127.0.0.1:0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        first = process.stdout.readline()
        found = re.search(r"http://\S+", first)
        try:
            yield found[0] if found else "http://127.0.0.1:9/"
        finally:
            process.send_signal(signal.SIGTERM)
            exits.add("gateway", first + "".join(process.communicate(timeout=_SECONDS)))
