"""Calls while their server is killed, stopped and cut off, with the executions counted at the server.

What a caller is told of a call is compared with what the server noted of it: a call may run twice only if its tool
says that this does no harm, must not have run if `sent=False` says so, has to end by its deadline, and the loss of
the state behind a session is told once.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fuzzing.fronts import Router, Wire
from benchmarks.fuzzing.held import Held, Lateness, tasks_left
from benchmarks.fuzzing.served import Served, rig_command
from jackfield import (
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    ServerConfig,
    Session,
    SessionConfig,
    SseConfig,
    StdioConfig,
)

TOOLS = ["work", "work", "work", "sleep", "look", "put"]
"""The first two kinds say nothing of themselves, the last two that they are read-only or idempotent."""
SAFE = {"look", "put"}

SETTINGS = SessionConfig(
    timeout=5,
    call_timeout=3,
    close_timeout=1,
    retry_attempts=3,
    retry_delay=0.05,
    max_retry_delay=0.5,
    failure_threshold=10_000,
)
OPENING_SECONDS = (SETTINGS.retry_attempts + 1) * (SETTINGS.timeout + SETTINGS.max_retry_delay * 1.25)


@dataclass(frozen=True)
class Plan:
    """One run."""

    line: str
    """Transport and era: `stdio`, `stdio 2026`, `http`, `http 2026` or `sse`."""
    flight: int
    """How many calls are under way at once."""
    seconds: float
    seed: int
    has_router: bool = False
    """Whether a router with patience of its own stands in front."""
    slack: float = 1.0
    """Seconds beyond its deadline that a call may take on a machine that is not busy."""

    def __str__(self) -> str:
        front = ", router" if self.has_router else ""
        return f"{self.line}, {self.flight} in flight{front}, {self.seconds:g} s, seed {self.seed}"


@dataclass
class Call:
    """What a caller was told of one call."""

    number: int
    tool: str
    outcome: str = "never ended"
    sent: bool | None = None
    text: str = ""
    """Of the result or the error."""


@dataclass
class Told:
    """What one user of a session was told of the state behind it."""

    state: str | None = None
    """The server's name for it, with the last result."""
    is_told: bool = False
    """Of a loss since."""
    upto: int = 0
    """The newest generation that the user was told of."""


@dataclass
class Report:
    """What came of one run."""

    plan: Plan
    calls: list[Call] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=lambda: collections.defaultdict(list))
    """By kind; each entry describes one."""
    slowest: float = 0.0

    @property
    def outcomes(self) -> collections.Counter[str]:
        """How the calls ended, counted."""
        return collections.Counter(call.outcome for call in self.calls)


class Executions:
    """One run.

    Args:
        plan: What is to be done.
        folder: For the server's log.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.report = Report(plan)
        self._plan = plan
        self._log = folder / "rig.log"
        self._log.touch()
        self._late = Lateness()
        self._ends_at = 0.0
        self._server: Served | None = None
        self._front: Wire | None = None

    def run(self) -> Report:
        """Do it, in an event loop of its own."""
        before = Held.now()
        asyncio.run(self._run())
        for name in before.left():
            self._fault("left behind", name)
        self._compare()
        return self.report

    async def _run(self) -> None:
        tasks = set(asyncio.all_tasks())
        watching = asyncio.create_task(self._late.watch())
        async with self._served() as config:
            self._ends_at = time.monotonic() + self._plan.seconds
            async with MCPClientSessionManager(max_sessions=5) as manager:
                chaos = asyncio.create_task(self._chaos())
                workers = [asyncio.create_task(self._work(manager, config, n)) for n in range(self._plan.flight)]
                await asyncio.wait([chaos], timeout=self._plan.seconds + 30)
                _, stuck = await asyncio.wait(workers, timeout=OPENING_SECONDS + self._bound(0.0))
                for task in (chaos, *stuck):
                    task.cancel()
                for done in await asyncio.gather(chaos, *workers, return_exceptions=True):
                    if isinstance(done, Exception):
                        self._fault("unexpected", f"{type(done).__name__}: {done}")
                for task in stuck:
                    self._fault("stuck", task.get_name())
                leaving = time.monotonic()
            if time.monotonic() - leaving > SETTINGS.close_timeout + 3 + self._plan.slack + self._late.now():
                self._fault("late", f"closing took {time.monotonic() - leaving:.1f} s")
        watching.cancel()
        for name in await tasks_left(tasks):
            self._fault("left behind", name)

    @contextlib.asynccontextmanager
    async def _served(self) -> AsyncIterator[ServerConfig]:
        line = self._plan.line
        dice = random.Random(f"{self._plan.seed} front")
        more: dict[str, Any] = {"server_name": "rig", "session": SETTINGS}
        more["protocol"] = "auto" if "2026" in line else dice.choice(["handshake", "auto"])
        if line.startswith("stdio"):
            yield StdioConfig(command=sys.executable, args=rig_command(line, self._log), **more)
            return
        server = self._server = Served(line, self._log)
        front = self._front = (Router if self._plan.has_router else Wire)(server.port, dice)
        kind = SseConfig if line == "sse" else HttpConfig
        try:
            server.start()
            server.wait()
            yield kind(url=f"http://127.0.0.1:{await front.open()}{server.path}", timeout=2, **more)
        finally:
            server.close()
            await front.close()

    # Calls

    async def _work(self, manager: MCPClientSessionManager, config: ServerConfig, worker: int) -> None:
        dice = random.Random(f"{self._plan.seed} worker {worker}")
        alone = Told()
        while time.monotonic() < self._ends_at:
            began = self._late.now(), time.monotonic()
            try:
                async with manager.open_session(config, key="k") as session:
                    self._in_time("opening", began, OPENING_SECONDS + self._plan.slack)
                    # One who uses a session alone is told of each loss; of many, the first one is.
                    told = alone if self._plan.flight == 1 else Told()
                    for _ in range(dice.randint(1, 5)):
                        if time.monotonic() < self._ends_at:
                            await self._call(session, dice, told)
            except JackfieldError as error:
                self._in_time("opening", began, OPENING_SECONDS + self._plan.slack)
                alone.is_told = alone.is_told or error.state_lost
                await asyncio.sleep(0.05)

    async def _call(self, session: Session, dice: random.Random, told: Told) -> None:
        tool = dice.choice(TOOLS)
        call = Call(len(self.report.calls), tool)
        self.report.calls.append(call)
        # Most are quick; some outlast the patience of a router.
        seconds = dice.uniform(0.2, 0.6) if dice.random() < 0.15 else dice.uniform(0.0, 0.05)
        patience = dice.uniform(0.0, 0.1) if dice.random() < 0.05 else None
        began = self._late.now(), time.monotonic()
        try:
            async with asyncio.timeout(patience):
                result = await session.call_tool(tool, {"n": call.number, "seconds": seconds})
        except JackfieldError as error:
            call.outcome, call.sent, call.text = f"{error.code}, sent={error.sent}", error.sent, str(error)
            if error.state_lost:
                told.is_told = True
                told.upto = max(told.upto, (error.generation or 0) + 1)
        except TimeoutError:
            call.outcome = "cancelled"
        else:
            call.outcome, call.text = "result", result.text
            if result.text != f"{tool} {call.number}":
                self._fault("another's answer", f"call {call.number} of {tool} got {result.text!r}")
            if self._plan.line != "http 2026":  # There are no sessions there.
                state = (result.meta or {}).get("state")
                self._hear(told, str(state), result.generation, result.state_lost, call.number)
        self._in_time(f"call {call.number} of {tool}: {call.outcome}", began, self._bound(self._plan.slack))

    def _hear(self, told: Told, state: str, generation: int, state_lost: bool, number: int) -> None:
        """Compare the state that a result came from with what the user was told of it."""
        if state_lost and generation <= told.upto:
            self._fault("loss told twice", f"call {number}, generation {generation}")
        told.is_told = told.is_told or state_lost
        told.upto = max(told.upto, generation if state_lost else 0)
        if told.state is None:
            told.is_told = False
        elif state != told.state:
            if not told.is_told:
                self._fault("loss not told", f"call {number}, generation {generation}")
            told.is_told = False
        told.state = state

    @staticmethod
    def _bound(slack: float) -> float:
        return (SETTINGS.call_timeout or 0.0) + slack

    def _in_time(self, what: str, began: tuple[float, float], bound: float) -> None:
        seconds, late = time.monotonic() - began[1], self._late.now() - began[0]
        self.report.slowest = max(self.report.slowest, seconds)
        if seconds > bound + 2 * late:
            self._fault("late", f"{what} took {seconds:.1f} s, the loop was {late:.1f} s late in all")

    # Faults

    async def _chaos(self) -> None:
        dice = random.Random(f"{self._plan.seed} chaos")
        while time.monotonic() < self._ends_at:
            await asyncio.sleep(dice.uniform(0.0, 0.6))
            stop = dice.uniform(2.5, 4.0) if dice.random() < 0.1 else dice.uniform(0.0, 0.5)
            what = dice.random()
            if self._server is None or self._front is None:
                await self._chaos_of_children(dice, what, stop)
            elif what < 0.5:
                self._front.cut()
            elif what < 0.8:
                self._server.kill()
                await asyncio.sleep(dice.uniform(0.0, 0.2))
                self._server.start()
                # On a busy machine a start takes long, and nothing would be tried but a server that is down.
                await asyncio.to_thread(self._server.wait)
            else:
                self._server.signal(signal.SIGSTOP)
                await asyncio.sleep(stop)
                self._server.signal(signal.SIGCONT)

    async def _chaos_of_children(self, dice: random.Random, what: float, stop: float) -> None:
        # Servers that are being opened, too, but not all children: tests have one of their own that starts programs.
        children = [child.pid for child in psutil.Process().children() if self._is_server(child)]
        if not children:
            return
        process = dice.choice(sorted(children))
        with contextlib.suppress(ProcessLookupError):
            if what < 0.75:
                os.kill(process, signal.SIGKILL)
            else:
                os.kill(process, signal.SIGSTOP)
                await asyncio.sleep(stop)
                os.kill(process, signal.SIGCONT)

    def _is_server(self, process: psutil.Process) -> bool:
        try:
            return str(self._log) in process.cmdline()
        except psutil.Error:
            return False

    # The verdict

    def _fault(self, kind: str, what: str) -> None:
        self.report.faults[kind].append(what)

    def _compare(self) -> None:
        """What callers were told with what the server executed."""
        lines = self._log.read_text().splitlines()
        runs = collections.Counter(int(line.split()[-1]) for line in lines if line.startswith("run "))
        for call in self.report.calls:
            count, what = runs[call.number], f"call {call.number} of {call.tool} ran {runs[call.number]} times"
            if count > 1 and call.tool not in SAFE:
                self._fault("ran twice", f"{what}: {call.outcome} {call.text!r}")
            if count > SETTINGS.retry_attempts + 1:
                self._fault("ran too often", f"{what}: {call.outcome} {call.text!r}")
            if count and call.sent is False:
                self._fault("denied", f"{what}: {call.outcome} {call.text!r}")
            if not count and call.outcome == "result":
                self._fault("result of nothing", what)
            if call.outcome.startswith(("request_failed", "tool_error")):
                self._fault("misread", f"the server answers no call with an error, but {what}: {call.text!r}")
            if call.sent is False and "may have taken effect" in call.text:
                self._fault("contradiction", f"sent={call.sent}, but {call.text!r}")
            if call.sent is not False and "the call was not carried out." in call.text:
                self._fault("contradiction", f"sent={call.sent}, but {call.text!r}")
            if call.outcome == "never ended":
                self._fault("never ended", what)
