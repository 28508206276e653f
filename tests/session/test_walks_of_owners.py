"""Real owners against the table of their lives: each change in it is made, and no other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.conftest import eventually, strays
from tests.reliability.scenario import settled
from tests.session.conftest import Start
from tests.session.watched import HANDSHAKE, Watched, kill, scripted

from jackfield import HttpConfig, JackfieldError, SessionConfig, SessionTerminatedError
from jackfield.session.lifecycle import TRANSITIONS, Cause, Lifecycle, State
from jackfield.session.owner import SessionOwner

SILENT: dict[str, Any] = {"initialize": [{"wait": True}]}
LOSS = SessionTerminatedError("The test says so.", state_lost=True)

Pair = tuple[State, Cause]


@contextlib.contextmanager
def recorded() -> Iterator[list[Pair]]:
    """What is fired at any session meanwhile, also in vain."""
    pairs: list[Pair] = []
    fire = Lifecycle.fire

    def watched(life: Lifecycle, cause: Cause, error: JackfieldError | None = None) -> State:
        pairs.append((life.state, cause))
        return fire(life, cause, error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lifecycle, "fire", watched)
        yield pairs


class Program:
    """The program of a scripted server, which may be gone, or there without ever answering."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "program"

    def works(self) -> None:
        self.is_gone()
        self._path.symlink_to(sys.executable)

    def is_gone(self) -> None:
        self._path.unlink(missing_ok=True)

    def is_silent(self) -> None:
        self.is_gone()
        self._path.write_text("#!/bin/sh\nexec cat >/dev/null\n")
        self._path.chmod(0o755)


def cut_off(owner: SessionOwner) -> None:
    """Cancel the session's task, as the end of its event loop does."""
    task = owner._task._handle
    assert isinstance(task, asyncio.Task)
    task.cancel()


class Stage:
    """Brings sessions into each state.

    Args:
        watch: Makes them.
        program: Of their server.
    """

    def __init__(self, watch: Start, program: Program) -> None:
        self._watch = watch
        self.program = program

    async def opening(self, **more: Any) -> SessionOwner:
        watched = self._watch(SILENT, **more)
        watched.is_started = True
        watched.owner.start()
        await anyio.sleep(0)
        assert watched.owner.state is State.OPENING
        return watched.owner

    async def open(self, **more: Any) -> SessionOwner:
        owner = await self._watch(**more).opened()
        assert owner.state is State.OPEN
        owner.leases = 1
        return owner

    async def recovering(self, **more: Any) -> SessionOwner:
        """It will not recover as long as the program is silent."""
        owner = await self.open(**more)
        self.program.is_silent()
        kill(owner)
        assert await settled(lambda: owner.state is State.RECOVERING)
        return owner

    async def lost(self, **more: Any) -> SessionOwner:
        owner = await self.open(**more)
        self.program.is_gone()
        kill(owner)
        assert await settled(lambda: owner.state is State.LOST)
        return owner

    async def at(self, state: State) -> SessionOwner:
        return await getattr(self, state.value)()


@pytest.fixture
def stage(watch: Start, tmp_path: Path) -> Stage:
    return Stage(watch, Program(tmp_path))


@asynccontextmanager
async def answering(head: str) -> AsyncIterator[HttpConfig]:
    """A server that answers everything with this."""

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(f"HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        quick = SessionConfig(timeout=20, retry_attempts=2, retry_delay=0.001, max_retry_delay=0.01)
        yield HttpConfig(server_name="rig", url=f"http://127.0.0.1:{port}/mcp", protocol="handshake", session=quick)
        tasks.cancel_scope.cancel()


async def open_first(stage: Stage) -> None:
    await stage.open()


async def retry_the_first_opening(stage: Stage) -> None:
    async with answering("503 Busy\r\nRetry-After: 0") as config:
        await stage._watch(config).opened()


async def fail_to_open(stage: Stage) -> None:
    stage.program.is_gone()
    await stage._watch().opened()


async def reopen(stage: Stage) -> None:
    owner = await stage.open()
    kill(owner)
    assert await settled(lambda: owner.generation == 2)


async def retry_a_recovery(stage: Stage) -> None:
    await stage.lost(retry_attempts=3)


async def fail_to_recover(stage: Stage) -> None:
    await stage.lost()


async def forget(stage: Stage) -> None:
    owner = await stage.open()
    owner.report_forgotten(owner.generation, LOSS)


async def conflict(stage: Stage) -> None:
    owner = await stage.open()
    owner.report_lost(owner.generation, LOSS, Cause.CONFLICTED)


async def leave_a_check_unanswered(stage: Stage) -> None:
    owner = await stage._watch(HANDSHAKE | {"ping": [{"wait": True}]}, liveness_timeout=0.05).opened()
    await owner.check_alive()


async def refresh(stage: Stage) -> None:
    await (await stage.open()).refresh()


async def refresh_what_recovers(stage: Stage) -> None:
    owner = await stage.recovering()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(owner.refresh)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()


async def refresh_what_is_lost(stage: Stage) -> None:
    owner = await stage.lost()
    stage.program.works()
    await owner.refresh()


async def call_what_is_lost(stage: Stage) -> None:
    owner = await stage.lost()
    stage.program.works()
    await owner.ready()


async def expire(stage: Stage) -> None:
    owner = await stage.open()
    owner.expire_after(0.001)
    await owner.closed()


async def lose_what_nobody_has(stage: Stage) -> None:
    owner = await stage.open()
    owner.leases = 0
    kill(owner)
    await owner.closed()


async def fail_to_recover_what_nobody_has(stage: Stage) -> None:
    watched: Watched = stage._watch()
    owner = await watched.opened()
    owner.leases = 1
    watched.on_failed = lambda: setattr(owner, "leases", 0)
    stage.program.is_gone()
    kill(owner)
    await owner.closed()


async def close(stage: Stage) -> None:
    owner = await stage.open()
    owner.request_close(Cause.RELEASED)
    await owner.closed()


WAYS: dict[Pair, Callable[[Stage], Awaitable[None]]] = {
    (State.OPENING, Cause.OPENED): open_first,
    (State.OPENING, Cause.RETRIED): retry_the_first_opening,
    (State.OPENING, Cause.OPENING_FAILED): fail_to_open,
    (State.OPEN, Cause.DISCONNECTED): reopen,
    (State.OPEN, Cause.FORGOTTEN): forget,
    (State.OPEN, Cause.CONFLICTED): conflict,
    (State.OPEN, Cause.UNRESPONSIVE): leave_a_check_unanswered,
    (State.OPEN, Cause.REFRESHED): refresh,
    (State.OPEN, Cause.IDLE): expire,
    (State.RECOVERING, Cause.OPENED): reopen,
    (State.RECOVERING, Cause.RETRIED): retry_a_recovery,
    (State.RECOVERING, Cause.REFRESHED): refresh_what_recovers,
    (State.RECOVERING, Cause.RECOVERY_FAILED): fail_to_recover,
    (State.RECOVERING, Cause.UNNEEDED): lose_what_nobody_has,
    (State.LOST, Cause.CALLED): call_what_is_lost,
    (State.LOST, Cause.REFRESHED): refresh_what_is_lost,
    (State.LOST, Cause.UNNEEDED): fail_to_recover_what_nobody_has,
    (State.CLOSING, Cause.ENDED): close,
}
"""How each change comes about that nobody can ask for."""

REQUESTED = (Cause.RELEASED, Cause.EVICTED, Cause.MANAGER)


@pytest.mark.parametrize(("state", "cause"), TRANSITIONS)
async def test_a_real_session_makes_every_change_of_the_table(state: State, cause: Cause, stage: Stage) -> None:
    with anyio.fail_after(30), recorded() as pairs:
        if (way := WAYS.get((state, cause))) is not None:
            await way(stage)
        else:
            owner = await stage.at(state)
            if cause in REQUESTED:
                owner.request_close(cause)
            else:
                assert cause is Cause.CUT_OFF
                cut_off(owner)
            await owner.closed()
    assert (state, cause) in pairs
    assert set(pairs) <= set(TRANSITIONS)


ACTIONS = st.sampled_from(
    ["kill"] * 4
    + ["call"] * 3
    + ["lease", "release", "wait", "program", "refresh", "check", "forget", "conflict"] * 2
    + ["expire", "close", "cut off", "call and cancel"]
)


class Session(RuleBasedStateMachine):
    """One session after another, with anything happening to them at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.runner = self.stack.enter_context(asyncio.Runner())
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.pairs = self.stack.enter_context(recorded())
        self.program = Program(self.folder)
        self.program.works()
        self.runner.run(self.open())

    async def open(self) -> None:
        config = scripted(self.folder, HANDSHAKE, timeout=5, failure_threshold=100, retry_attempts=2)
        self.watched = Watched(config)
        self.watched.may_expire = True
        self.owner = self.watched.owner
        self.owner.leases = 1
        self.owner.start()

    @rule(action=ACTIONS, seconds=st.sampled_from([0, 0, 0.01, 0.1]), cause=st.sampled_from(REQUESTED))
    def act(self, action: str, seconds: float, cause: Cause) -> None:
        self.runner.run(self.do(action, seconds, cause))

    async def do(self, action: str, seconds: float, cause: Cause) -> None:
        owner = self.owner
        with contextlib.suppress(JackfieldError):
            match action:
                case "kill" if process_id := owner.info().process_id:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process_id, signal.SIGKILL)
                case "call":
                    await owner.ready()
                case "call and cancel":
                    with anyio.move_on_after(seconds):
                        await owner.ready()
                case "lease":
                    owner.leases = 1
                case "release":
                    owner.leases = 0
                case "program":
                    self.program.works() if seconds else self.program.is_gone()
                case "refresh":
                    await owner.refresh()
                case "check":
                    await owner.check_alive()
                case "forget":
                    owner.report_forgotten(owner.generation, LOSS)
                case "conflict":
                    owner.report_lost(owner.generation, LOSS, Cause.CONFLICTED)
                case "expire":
                    owner.expire_after(seconds)
                case "close" if cause is not Cause.EVICTED or owner.state is State.OPEN:
                    owner.request_close(cause)
                case "cut off":
                    cut_off(owner)
                case _:
                    pass
        await anyio.sleep(seconds)
        if owner.state is State.CLOSED:
            await self.open()

    @invariant()
    def it_keeps_to_the_table(self) -> None:
        assert set(self.pairs) <= set(TRANSITIONS)
        owner = self.owner
        assert (owner.connection is not None) or owner.state is not State.OPEN
        assert owner.error is None or owner.state is not State.OPEN

    def teardown(self) -> None:
        async def close() -> None:
            self.owner.request_close(Cause.MANAGER)
            await self.watched.closed()

        self.runner.run(close())
        assert eventually(lambda: not strays()), strays()
        assert set(self.pairs) <= set(TRANSITIONS)
        self.stack.close()


TestSession = Session.TestCase
TestSession.settings = settings(
    max_examples=5, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
