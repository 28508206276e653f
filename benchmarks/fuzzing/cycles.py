"""Sessions that are opened and closed while callers are cancelled at random, and event loops that end meanwhile."""

from __future__ import annotations

import asyncio
import collections
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.held import Held, tasks_left
from benchmarks.fuzzing.served import Served, rig_command
from jackfield import (
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    ServerConfig,
    SessionConfig,
    SseConfig,
    StdioConfig,
)

AT_ONCE = 8
SETTINGS = SessionConfig(timeout=10, call_timeout=10, close_timeout=1, retry_delay=0.05)
HANG_SECONDS = 60.0
"""Far beyond every deadline above, so that only what waits without one is found."""


class Cycles:
    """Openings on one line.

    Args:
        line: Transport and era, such as `http 2026`.
        openings: How many; one in ten in an event loop that ends at a random moment.
        seed: Of the dice.
        folder: For the server's log.
    """

    def __init__(self, line: str, openings: int, seed: int, folder: Path) -> None:
        self.faults: dict[str, list[str]] = collections.defaultdict(list)
        self.outcomes: collections.Counter[str] = collections.Counter()
        self._line, self._openings, self._seed = line, openings, seed
        self._log = folder / "rig.log"

    def __str__(self) -> str:
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        return f"{self._line}, {self._openings} openings, seed {self._seed} ({outcomes})"

    def run(self) -> dict[str, list[str]]:
        """Do it; returns the faults by kind."""
        with self._served() as config:
            before = Held.now()
            rounds = max(self._openings // (AT_ONCE * 10 // 9), 1)
            if self._ends(self._cancelled(config, rounds), "openings that are cancelled"):
                dice = random.Random(f"{self._seed} ends")
                for number in range(max(self._openings // 10, 1)):
                    seconds = dice.choice([0.0, dice.uniform(0.0, 0.02), dice.uniform(0.0, 0.3)])
                    if not self._ends(self._left(config, dice, seconds), f"end {number}, after {seconds:.3f} s"):
                        break
                    self.outcomes["loops ended"] += 1
            for name in before.left():
                self.faults["left behind"].append(name)
        return self.faults

    def _ends(self, main: Any, what: str) -> bool:
        """Run an event loop in a thread, so that one that never ends can be told; whether it ended."""
        raised: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(main)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run, daemon=True, name=what)
        thread.start()
        thread.join(HANG_SECONDS)
        for error in raised:
            self.faults["unexpected"].append(f"{what}: {type(error).__name__}: {error}")
        if thread.is_alive():
            self.faults["never ended"].append(what)
        return not thread.is_alive()

    async def _cancelled(self, config: ServerConfig, rounds: int) -> None:
        """Openings, some of them for the same session, with callers that give up at random."""
        dice = random.Random(f"{self._seed} cycles")
        tasks = set(asyncio.all_tasks())
        async with MCPClientSessionManager(max_sessions=AT_ONCE * 2) as manager:
            for _ in range(rounds):
                await asyncio.gather(*(self._open(manager, config, dice) for _ in range(AT_ONCE)))
        for name in await tasks_left(tasks):
            self.faults["left behind"].append(name)

    async def _open(self, manager: MCPClientSessionManager, config: ServerConfig, dice: random.Random) -> None:
        patience = dice.choice([None, dice.uniform(0.0, 0.4), dice.uniform(0.0, 0.02)])
        try:
            async with asyncio.timeout(patience):
                async with manager.open_session(config, key=dice.choice([None, "ada", "eve"])) as session:
                    await session.call_tool("work", {"seconds": dice.choice([0.0, 0.05])})
            self.outcomes["result"] += 1
        except JackfieldError as error:
            self.outcomes[error.code] += 1
        except TimeoutError:
            self.outcomes["cancelled"] += 1

    async def _left(self, config: ServerConfig, dice: random.Random, seconds: float) -> None:
        """Return while sessions are opened, used and closed; what waits for them is cancelled by `asyncio.run`."""
        manager = MCPClientSessionManager()
        entered = dice.random() < 0.5
        if entered:
            await manager.__aenter__()
        waiting = [asyncio.create_task(self._open(manager, config, dice)) for _ in range(dice.randint(1, 3))]
        await asyncio.sleep(seconds)
        if entered and dice.random() < 0.5:
            waiting.append(asyncio.create_task(manager.__aexit__(None, None, None)))
            await asyncio.sleep(0)

    @contextmanager
    def _served(self) -> Iterator[ServerConfig]:
        protocol: Any = "auto" if "2026" in self._line else "handshake"
        more: dict[str, Any] = {"server_name": "rig", "session": SETTINGS, "protocol": protocol}
        if self._line.startswith("stdio"):
            yield StdioConfig(command=sys.executable, args=rig_command(self._line, self._log), **more)
            return
        server = Served(self._line, self._log)
        kind = SseConfig if self._line == "sse" else HttpConfig
        try:
            server.start()
            server.wait()
            yield kind(url=f"http://127.0.0.1:{server.port}{server.path}", **more)
        finally:
            server.close()
