"""Plays one cell of the reliability table against a real server, and says what came of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import anyio
from tests.conftest import MARK, SERVERS, TOKEN

from jackfield import (
    CallRetried,
    Event,
    HttpConfig,
    JackfieldError,
    LimitReached,
    MCPClientSessionManager,
    RecoveryFailed,
    ServerConfig,
    Session,
    SessionConfig,
    SessionLost,
    SessionRecovered,
    SseConfig,
    StdioConfig,
    StreamRenewed,
)

Line = Literal["stdio", "stdio 2026", "http", "http 2026", "sse"]
When = Literal["opening", "idle", "call", "read-only call", "20 calls", "closing"]

SHOWN: dict[type[Event], str] = {
    SessionLost: "lost",
    SessionRecovered: "recovered",
    RecoveryFailed: "recovery failed",
    CallRetried: "retried",
    StreamRenewed: "stream renewed",
    LimitReached: "limit",
}


@dataclass(frozen=True)
class Outcome:
    """What the caller got, and what happened on the server."""

    got: str
    """`result`, or the error's code."""
    sent: bool | None = None
    """Of an error."""
    state_lost: bool = False
    """As the result or the error says."""
    runs: int = 1
    """How often the tool really ran; of many calls, the most that one of them did."""
    events: frozenset[str] = frozenset()


FLAGS = {
    "stubborn": ("--stubborn", "--helper"),
    "banner": ("--banner",),
    "stderr flood": ("--stderr-bytes", "10000000"),
    "refuse-stream": ("--fault", "refuse-stream", "--times", "3"),
    "full": (),
}
"""What the rig is told for a fault that is not one of its own, or needs more."""


class Rig:
    """The server of one cell: its configuration, and what it noted."""

    def __init__(self, config: ServerConfig, log_file: Path) -> None:
        self.config = config
        self._log_file = log_file

    def lines(self, start: str) -> list[str]:
        """What the server noted, beginning with `start`."""
        text = self._log_file.read_text() if self._log_file.exists() else ""
        return [line for line in text.splitlines() if line.startswith(start)]

    def runs(self, n: int) -> int:
        """How often the call numbered `n` was executed."""
        return sum(line.split()[-1] == str(n) for line in self.lines("run"))


SETTINGS: dict[str, Any] = {
    "timeout": 10,
    "call_timeout": 10,
    "close_timeout": 1,
    "retry_delay": 0.05,
    "max_retry_delay": 1,
    "failure_threshold": 20,
}


@contextmanager
def rig(line: Line, folder: Path, *arguments: str, **settings: Any) -> Iterator[Rig]:
    """A running server, or for stdio the configuration of one."""
    transport, _, modern = line.partition(" ")
    log_file = folder / "rig.log"
    command = [str(SERVERS / "rig.py"), transport, "--era", "modern" if modern else "handshake", *arguments]
    command += ["--log", str(log_file)]
    protocol = "auto" if modern else "handshake"
    session = SessionConfig(**{**SETTINGS, **settings})
    common: dict[str, Any] = {"server_name": "rig", "protocol": protocol, "session": session}
    if transport == "stdio":
        config = StdioConfig(command=sys.executable, args=["-S", *command], environment={MARK: TOKEN}, **common)  # type: ignore[dict-item]
        yield Rig(config, log_file)
        return
    with subprocess.Popen(
        [sys.executable, "-S", *command], stdout=subprocess.PIPE, text=True, env={MARK: TOKEN}
    ) as process:
        assert process.stdout
        url = process.stdout.readline().split()[1]
        kind = HttpConfig if transport == "http" else SseConfig
        try:
            yield Rig(kind(url=url, timeout=2, **common), log_file)
        finally:
            process.kill()


async def settled(condition: Any, seconds: float = 3.0) -> bool:
    """Whether the condition comes true in time."""
    with anyio.move_on_after(seconds):
        while not condition():
            await anyio.sleep(0.01)
        return True
    return False


async def play(line: Line, fault: str, when: When, folder: Path) -> Outcome:
    """Let the fault happen at that moment; returns what the caller got.

    Checks on the way that the session, or else the server, can be used afterwards.
    """
    moment = {"opening": "open", "idle": "idle", "closing": "close"}.get(when, "call")
    after = {"idle": 1, "20 calls": 10, "closing": 0, "opening": 0}.get(when, 1)
    arguments = [*FLAGS.get(fault, ("--fault", fault)), "--when", moment, "--after", str(after)]
    settings: dict[str, Any] = {}
    if fault == "stall":
        # Long enough for a busy machine to start a server and to answer, where the fault is not waited for.
        settings = {"timeout": 1.5} if when == "opening" else {"call_timeout": 2, "liveness_timeout": 0.5}
        settings |= {"liveness_interval": 0.1, "call_timeout": 10} if when == "idle" else {}
    if fault == "down":
        settings = {"retry_delay": 0.2}
    seen: list[Event] = []
    with rig(line, folder, *arguments, **settings) as server:
        if fault == "full":
            return await _fill(server)
        manager = MCPClientSessionManager(on_event=seen.append)
        opening = _open(manager, server) if when == "opening" else _use(manager, server, line, when, fault, seen)
        outcome = await opening
        if when == "closing":
            # Whatever went wrong then, the next session is as good as new.
            assert (await _open(manager, server)).got == "result"
    # Whether one of many calls, or the call that comes after, had to be made again is a matter of luck.
    counted = [event for event in seen if not isinstance(event, CallRetried) or event.call_number <= 2]
    names = frozenset(SHOWN[type(event)] for event in counted if type(event) in SHOWN)
    if when == "20 calls":
        names -= {"retried"}
    return replace(outcome, events=names)


async def _open(manager: MCPClientSessionManager, server: Rig) -> Outcome:
    try:
        async with manager.open_session(server.config) as session:
            return await _call(session, server, "work", 1)
    except JackfieldError as error:
        outcome = Outcome(error.code, error.sent, error.state_lost, server.runs(1))
    async with manager.open_session(server.config) as session:
        assert (await session.call_tool("work", {"n": 99})).text == "work 99"
    return outcome


async def _fill(server: Rig) -> Outcome:
    """Open one session more than there may be."""
    manager = MCPClientSessionManager(max_sessions=1, acquire_timeout=10)
    outcomes: list[Outcome] = []

    async def ask() -> None:
        try:
            async with manager.open_session(server.config, acquire_timeout=0.3) as session:
                outcomes.append(await _call(session, server, "work", 1))
        except JackfieldError as error:
            outcomes.append(Outcome(error.code, error.sent, error.state_lost, server.runs(1)))

    async with manager.open_session(server.config) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)  # Who holds a session and waits for another is refused at once.
        assert (await session.call_tool("look", {"n": 99})).text == "look 99", "nothing is wrong with the server"
    assert (await _open(manager, server)).got == "result"
    [outcome] = outcomes
    return outcome


async def _use(
    manager: MCPClientSessionManager, server: Rig, line: Line, when: When, fault: str, seen: list[Event]
) -> Outcome:
    async with manager.open_session(server.config) as session:
        outcome = await _call(session, server, "work", 1)
        assert outcome == Outcome("result")
        match when:
            case "closing":
                return outcome
            case "idle":
                if fault not in FLAGS or fault == "refuse-stream":
                    assert await settled(lambda: server.lines("fault"))
                # What shows while nobody calls, is waited for.
                shown = StreamRenewed if line == "http" and fault in ("cut", "refuse-stream") else SessionLost
                if line == "http 2026" or (line == "http" and fault == "crash") or fault in ("forget", "invalid"):
                    shown = None
                if shown is not None:
                    assert await settled(lambda: any(isinstance(event, shown) for event in seen))
                await anyio.sleep(0.1)
                outcome = await _call(session, server, "work", 2)
            case "20 calls":
                outcome = await _many(session, server)
            case _:
                outcome = await _call(session, server, "look" if when == "read-only call" else "work", 2)
        if outcome.got == "session_timeout":
            await session.refresh()  # What LangChain's guide calls `with_session_refresh`.
        again = await session.call_tool("look", {"n": 99})
        assert again.text == "look 99"
        assert not again.state_lost or not outcome.state_lost, "it was told already"
    return outcome


async def _call(session: Session, server: Rig, tool: str, n: int) -> Outcome:
    try:
        result = await session.call_tool(tool, {"n": n})
    except JackfieldError as error:
        if len(str(error).splitlines()) > 3:
            raise
        return Outcome(error.code, error.sent, error.state_lost, server.runs(n))
    assert result.text == f"{tool} {n}"
    return Outcome("result", None, result.state_lost, server.runs(n))


async def _many(session: Session, server: Rig) -> Outcome:
    """Twenty calls of a tool that may not run twice. `got` tells of those that did not end well."""
    outcomes: dict[int, Outcome] = {}

    async def one(n: int) -> None:
        outcomes[n] = await _call(session, server, "work", n)

    async with anyio.create_task_group() as tasks:
        for n in range(2, 22):
            tasks.start_soon(one, n)
    for outcome in outcomes.values():
        assert outcome.got != "result" or outcome.runs == 1, outcome
        assert outcome.sent is not False or outcome.runs == 0, outcome
    failed = {outcome.got for outcome in outcomes.values()} - {"result"}
    lost = any(outcome.state_lost for outcome in outcomes.values())
    most = max(outcome.runs for outcome in outcomes.values())
    sent = None if not failed else any(o.sent in (True, None) for o in outcomes.values() if o.got != "result")
    return Outcome(" or ".join(sorted({"result", *failed})), sent, lost, most)
