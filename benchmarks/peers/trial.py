"""What the claims have to try a peer with: servers, and waits that end."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subject import MARK, Driver, Server, Starts, running, within

SERVERS = Path(__file__).resolve().parents[2] / "tests" / "servers"
QUICK = 15.0
"""Seconds in which anything that works has happened, on a busy machine too."""
WORK = {"n": 1, "seconds": 0, "bytes": 0}
"""All that the rig's tools take: a null for what was left out would not do."""


@dataclass(frozen=True)
class Seen:
    """What came of a claim in one way of use."""

    holds: bool
    what: str


class Trial:
    """What a claim needs to try a peer."""

    def __init__(self, driver: Driver, token: str, python: str) -> None:
        self.driver = driver
        self.token = token
        self.python = python
        self.folder = Path(tempfile.mkdtemp(prefix="jackfield-peers-"))
        self.unraised: list[str] = []

    def note_unraised(self, loop: object, context: dict[str, Any]) -> None:
        """An error that the event loop logs because nobody is there to get it."""
        self.unraised.append(said(context["exception"]) if "exception" in context else context["message"])

    def _server(self, name: str, args: list[str], **environment: str) -> Server:
        return Server(name, self.python, args, {MARK: f"{self.token}/{name}", **environment})

    def everything(self, name: str = "everything", **environment: str) -> Server:
        """`tests/servers/everything.py`, written with the SDK."""
        return self._server(name, [str(SERVERS / "everything.py")], **environment)

    def python_server(self, *args: str) -> Server:
        """Some Python program."""
        return self._server("program", list(args))

    def unruly(self, *options: str, name: str = "unruly") -> Server:
        """`tests/servers/unruly.py`, which misbehaves on demand."""
        return self._server(name, ["-S", str(SERVERS / "unruly.py"), "--log", str(self.log), *options])

    @property
    def log(self) -> Path:
        """A line for each run of a tool of an unruly server."""
        return self.folder / "runs.log"

    def logged(self, line: str) -> bool:
        """Whether a line that starts so is in the log."""
        return self.log.exists() and any(one.startswith(line) for one in self.log.read_text().splitlines())

    def running(self, name: str = "") -> set[int]:
        """The servers that run now, and what they left behind."""
        return running(self.token, name)

    def starts(self, name: str = "") -> Starts:
        """Notes what is started meanwhile."""
        return Starts(self.token, name)

    def rig(self, *options: str) -> Server:
        """`tests/servers/rig.py` over stdio."""
        return self._server("rig", ["-S", str(SERVERS / "rig.py"), "stdio", "--log", str(self.log), *options])

    @asynccontextmanager
    async def remote(self, transport: str, *options: str) -> AsyncGenerator[Server]:
        """The same over HTTP."""
        command = [self.python, "-S", str(SERVERS / "rig.py"), transport, "--log", str(self.log), *options]
        environment = {**os.environ, MARK: f"{self.token}/rig"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout
            try:
                yield Server("rig", url=process.stdout.readline().split()[1])
            finally:
                process.kill()


def said(error: BaseException) -> str:
    """An error in one short line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:160].rstrip(": ")


async def outcome(doing: Awaitable[Any], seconds: float = QUICK) -> Any:
    """Its result, or the error it raised; `NoEndError` if it does not end."""
    try:
        return await within(seconds, doing)
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current and current.cancelling():
            raise
        return RuntimeError("CancelledError")
    except Exception as error:
        return error


def number_in(answer: Any) -> str:
    """The number that a tool answered, however it is wrapped."""
    return (re.search(r"\d+", answer.text) or [answer.text])[0]


def is_on(answer: Any) -> bool:
    """Whether the tool `echo` said "on"."""
    return re.search(r"\bon\b", getattr(answer, "text", "")) is not None and not answer.is_error


def words_of(answer: Any) -> str:
    """An answer or an error in one line."""
    words = said(answer) if isinstance(answer, BaseException) else " ".join(answer.text.split())[:140]
    return words or "an error without text"
