"""The manager against a model: random leases, keys, cancellations, losses and idle times on real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import psutil
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.conftest import MARK, TOKEN, eventually, strays
from tests.daily import daily
from tests.reliability.scenario import rig

from jackfield import JackfieldError, MCPClientSessionManager, Session
from jackfield.pool.lease import SessionLease

IDLE_SECONDS = 0.1
MAX_SESSIONS = 4
KEYS = st.sampled_from([None, "ada", "eve"])
ACTIONS = st.sampled_from(
    ["lease"] * 4 + ["call"] * 8 + ["release", "count"] * 2 + ["cancel", "cancel opening", "wait", "close"]
)
TOOLS = st.sampled_from(["work", "look"])
KILLS = st.sampled_from(["no", "before", "meanwhile"])


@dataclass
class Held:
    """A lease that the model holds."""

    lease: SessionLease
    session: Session
    key: str | None


class Manager(RuleBasedStateMachine):
    """What the model knows: who holds what, how far each key's counter is, which calls may have run."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.runner = self.stack.enter_context(asyncio.Runner())
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        # Killed again and again before it answers anything, a session with few attempts rests, and a call may fail.
        attempts = {"retry_attempts": 100, "retry_delay": 0.01, "max_retry_delay": 0.05}
        self.server = self.stack.enter_context(
            rig("stdio", folder, idle_timeout=IDLE_SECONDS, close_timeout=1, **attempts)
        )
        self.manager = MCPClientSessionManager(max_sessions=MAX_SESSIONS)
        self.runner.run(self.manager.__aenter__())
        self.held: list[Held] = []
        self.number = 0
        self.answered: set[int] = set()
        self.unsent: set[int] = set()

    # One rule, or Hypothesis would leave most of them out of most runs.
    @rule(action=ACTIONS, which=st.integers(0, 5), key=KEYS, tool=TOOLS, kill=KILLS, wait=st.sampled_from([0.0, 0.005]))
    def act(self, action: str, which: int, key: str | None, tool: str, kill: str, wait: float) -> None:
        if action == "lease" or not self.held:
            self.lease(key)
            return
        held = self.held[which % len(self.held)]
        match action:
            case "release":
                self.release(held)
            case "call":
                self.runner.run(self.call(held, tool, kill))
            case "count":
                self.runner.run(self.count(held))
            case "cancel":
                self.runner.run(self.cancel(held, wait))
            case "cancel opening":
                self.runner.run(self.cancel_opening(key, wait))
            case "wait":
                self.wait_until_idle_ones_close()
            case "close":
                self.close_unleased(key)

    def opening(self, key: str | None) -> SessionLease:
        """A lease; where nobody will make room for it, one that does not wait for long."""
        infos = self.manager.sessions()
        has_own = key is not None and any(info.key == key for info in infos)
        is_full = len(infos) == MAX_SESSIONS and all(info.leases for info in infos) and not has_own
        return self.manager.open_session(self.server.config, key=key, acquire_timeout=0.05 if is_full else None)

    def lease(self, key: str | None) -> None:
        for _ in range(100):
            lease = self.opening(key)
            try:
                session = self.runner.run(lease.__aenter__())
                break
            except JackfieldError as error:
                if len(self.manager.sessions()) == MAX_SESSIONS:
                    assert error.code == "pool_timeout", error  # noqa: PT017
                    return
                assert error.code == "session_timeout", error  # noqa: PT017
                # The one of this key is still being closed; on a busy machine that takes longer than the manager waits.
        else:
            raise AssertionError("there is room")
        others = [held for held in self.held if held.key == key is not None]
        assert all(held.session.process_id == session.process_id for held in others)
        self.held.append(Held(lease, session, key))

    def release(self, held: Held) -> None:
        self.held.remove(held)
        self.runner.run(held.lease.__aexit__(None, None, None))
        with pytest.raises(JackfieldError, match="has exited"):
            self.runner.run(held.session.call_tool("look"))

    async def call(self, held: Held, tool: str, kill: str) -> None:
        self.number += 1
        number = self.number
        if kill == "before":
            self.kill(held)
        async with anyio.create_task_group() as tasks:
            if kill == "meanwhile":
                tasks.start_soon(self.kill_soon, held)
            try:
                seconds = 0.03 if kill == "meanwhile" else 0
                result = await held.session.call_tool(tool, {"n": number, "seconds": seconds})
            except JackfieldError as error:
                assert kill != "no", error  # noqa: PT017
                assert tool == "work", "what only reads is called again"
                if error.sent is False:
                    self.unsent.add(number)
            else:
                assert result.text == f"{tool} {number}"
                self.answered.add(number)

    async def count(self, held: Held) -> None:
        """State is kept unless it is said to be lost."""
        first = await held.session.call_tool("count")
        second = await held.session.call_tool("count")
        assert second.generation == first.generation
        assert int(second.text) == int(first.text) + 1
        assert not second.state_lost

    async def cancel(self, held: Held, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await held.session.call_tool("sleep", {"seconds": 0.1})

    async def cancel_opening(self, key: str | None, seconds: float) -> None:
        lease = self.opening(key)
        with anyio.move_on_after(seconds):
            try:
                await lease.__aenter__()
            except JackfieldError as error:
                assert error.code in ("pool_timeout", "session_timeout"), error  # noqa: PT017
                return
        await lease.__aexit__(None, None, None)

    def wait_until_idle_ones_close(self) -> None:
        self.runner.run(anyio.sleep(IDLE_SECONDS + 0.1))
        leased = {held.key for held in self.held}
        idle = [info for info in self.manager.sessions() if info.key not in leased and info.state == "open"]
        assert not idle, "nobody has them"

    def close_unleased(self, key: str | None) -> None:
        if key is not None and all(held.key != key for held in self.held):
            self.runner.run(self.manager.close_session("rig", key))
            assert all(info.key != key for info in self.manager.sessions())

    def kill(self, held: Held) -> None:
        process = held.session.process_id
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    async def kill_soon(self, held: Held) -> None:
        await anyio.sleep(0.01)
        self.kill(held)

    @invariant()
    def at_most_one_live_session_a_key(self) -> None:
        infos = self.manager.sessions()
        keys = [info.key for info in infos if info.key is not None]
        assert len(keys) == len(set(keys))
        assert len(infos) <= MAX_SESSIONS

    @invariant()
    def no_more_processes_than_sessions(self) -> None:
        assert len([process for process in strays() if self.is_server(process)]) <= len(self.manager.sessions()) + 1

    @staticmethod
    def is_server(process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == TOKEN and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def teardown(self) -> None:
        self.runner.run(self.manager.__aexit__(None, None, None))
        assert self.manager.sessions() == []
        assert eventually(lambda: not strays()), strays()
        runs = [line.split() for line in self.server.lines("run")]
        for number in range(1, self.number + 1):
            ran = [tool for _, tool, *rest in runs if rest == [str(number)]]
            assert len(ran) <= 1 or ran[0] == "look", f"call {number} ran {len(ran)} times"
            assert number not in self.answered or ran
            assert number not in self.unsent or not ran
        self.stack.close()


TestManager = Manager.TestCase
TestManager.settings = settings(
    max_examples=daily(5, whole=50), stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
