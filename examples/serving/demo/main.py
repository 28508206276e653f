"""Two instances behind a load balancer serve one session, while one of them is killed, and one is stopped.

Everything is real: HAProxy (or a balancer of this demo, where HAProxy is not installed), Redis, two processes that
serve with `jackfield.serving`, and Jackfield's client. All of it runs on this machine, and is gone afterwards.

Run: python examples/serving/demo/main.py [--own-balancer]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)

sys.path.insert(0, str(Path(__file__).parents[2]))

import programs
from mcp.types import ElicitRequestParams, ElicitResult, LoggingMessageNotificationParams
from research_assistant.leftovers import descendants
from screen import KILLED, STARTING, STOPPED, UP, Screen

from jackfield import (
    Event,
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    Session,
    SessionCallbacks,
    SessionLost,
    StreamRenewed,
    ToolResult,
)

LONG_SECONDS, SHORT_SECONDS = 30.0, 2.0
"""What a call takes that only the end of its instance ends, and one that may end while its instance is stopped."""

PLAN = ["add", "confirm", "add", "announce"]
HEARD_SECONDS = 10.0


class Play:
    """What happens, in order."""

    def __init__(self, screen: Screen, instances: dict[str, programs.Program], pace: float) -> None:
        self._screen = screen
        self._instances = instances
        self._pace = pace
        self._numbers: Iterator[int] = itertools.count(1)

    async def run(self, url: str) -> None:
        """Play it all."""
        config = HttpConfig(server_name="shop", url=url, protocol="handshake")
        callbacks = SessionCallbacks(elicitation=self._agree, logging=self._hear)
        async with MCPClientSessionManager(on_event=self._note) as manager:
            async with manager.open_session(config, callbacks=callbacks) as session:
                self._screen.part("Both instances are up")
                await self._calls(session, 8)
                await self._back(await self._kill_one(session), session)
                await self._back(await self._stop_one(session), session)
                await self._all_heard()

    async def _kill_one(self, session: Session) -> str:
        """Kill an instance in the middle of a call, and go on with the other."""
        self._screen.part("An instance is killed in the middle of a call")
        async with asyncio.TaskGroup() as tasks:
            name, brewing = await self._brew(session, LONG_SECONDS, tasks)
            self._instances[name].kill()
            self._screen.instance(name, KILLED, "is killed (kill -9); the session goes on with the other")
            killed_at = time.monotonic()
            await self._calls(session, 4)
            if isinstance(outcome := await brewing, JackfieldError):
                self._screen.tally.lost.append(outcome.message)
                words = f"{time.monotonic() - killed_at:.1f} s after the kill: {outcome.message}"
                self._screen.line("client", words, "yellow")
            else:
                self._screen.tally.failed.append(f"brew: it was killed, and answered {outcome.text}")
        await self._calls(session, 4)
        return name

    async def _stop_one(self, session: Session) -> str:
        """Stop an instance in the middle of a call, which it may finish."""
        self._screen.part("An instance is stopped in the middle of a call")
        async with asyncio.TaskGroup() as tasks:
            name, brewing = await self._brew(session, SHORT_SECONDS, tasks)
            self._screen.instance(name, STOPPED, "is stopped (SIGTERM); it finishes what it runs")
            stopping = tasks.create_task(asyncio.to_thread(self._instances[name].stop))
            await self._calls(session, 4)
            self._answered("brew", await brewing)
            await stopping
        return name

    async def _back(self, name: str, session: Session) -> None:
        """Start an instance again."""
        self._screen.part(f"{name} comes back")
        self._screen.instance(name, STARTING, "is started again")
        await self._instances[name].start()
        self._screen.instance(name, UP, "is up: it has every session, since it kept none")
        await self._calls(session, 4)

    async def _brew(
        self, session: Session, seconds: float, tasks: asyncio.TaskGroup
    ) -> tuple[str, asyncio.Task[ToolResult | JackfieldError]]:
        """Begin a call that takes a while; which instance runs it, and what will come of it."""
        begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            if not begun.done():
                begun.set_result(message or "")

        arguments = {"number": next(self._numbers), "seconds": seconds}
        brewing = tasks.create_task(_outcome(session.call_tool("brew", arguments, progress_callback=on_progress)))
        name = await begun
        self._screen.line(name, "brews; this takes a while")
        return name, brewing

    async def _calls(self, session: Session, count: int) -> None:
        """Some calls, one after the other: the balancer takes another instance for each."""
        for step in range(count):
            tool, number = PLAN[step % len(PLAN)], next(self._numbers)
            if tool == "announce":
                self._screen.tally.sent.append(number)
            self._answered(tool, await _outcome(session.call_tool(tool, {"number": number})))
            await asyncio.sleep(self._pace)

    def _answered(self, tool: str, outcome: ToolResult | JackfieldError) -> None:
        if isinstance(outcome, JackfieldError) or outcome.is_error:
            words = f"{tool}: {outcome.message if isinstance(outcome, JackfieldError) else outcome.text}"
            self._screen.tally.failed.append(words)
            self._screen.line("client", words, "red")
            return
        done: Any = outcome.data
        self._screen.tally.answered[done["instance"]] += 1
        self._screen.line(done["instance"], f"{tool}: {done['outcome']}")

    async def _all_heard(self) -> None:
        """Notifications come on a stream of their own, and so may come later."""
        tally = self._screen.tally
        deadline = time.monotonic() + HEARD_SECONDS
        while set(tally.heard) != set(tally.sent) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    # What comes from the server

    async def _agree(self, context: object, params: ElicitRequestParams) -> ElicitResult:
        self._screen.tally.asked += 1
        self._screen.line("user", f'"{params.message}" Yes.', "magenta")
        return ElicitResult(action="accept", content={"yes": True})

    async def _hear(self, params: LoggingMessageNotificationParams) -> None:
        self._screen.tally.heard.append(params.data)
        self._screen.line("client", f"hears the notification of call {params.data}, which {params.logger} sent", "blue")

    def _note(self, event: Event) -> None:
        if isinstance(event, StreamRenewed):
            how = "where it had ended" if event.resumed else "from now on"
            self._screen.line("client", f"a stream broke with its instance; it is read on, {how}", "yellow")
        elif isinstance(event, SessionLost):
            self._screen.tally.failed.append(f"the session was lost: {event.error.message}")


async def _outcome(call: Awaitable[ToolResult]) -> ToolResult | JackfieldError:
    try:
        return await call
    except JackfieldError as error:
        return error


async def demo(screen: Screen, folder: Path, *, own_balancer: bool) -> bool:
    """Start everything, play, and end everything; whether all is as it should be."""
    ledger = folder / "ledger"
    ledger.touch()
    redis = programs.redis(folder)
    started = [redis]
    try:
        await redis.start()
        redis_url = f"redis://127.0.0.1:{redis.port}"
        instances = {name: programs.instance(name, redis_url, ledger, folder) for name in screen.states}
        balancer = programs.balancer(instances, folder, own=own_balancer)
        started += [*instances.values(), balancer]
        await asyncio.gather(*(one.start() for one in instances.values()))
        await balancer.start()  # after them: HAProxy takes none for up that its first check did not find
        screen.states = dict.fromkeys(instances, UP)
        url = f"http://127.0.0.1:{balancer.port}/mcp"
        screen.title("HAProxy" if balancer.is_haproxy else "of this demo", redis_url, url)
        await Play(screen, instances, 0.15 if screen.is_live else 0.05).run(url)
        return screen.summary([int(line) for line in ledger.read_text().split()])
    finally:
        for program in reversed(started):
            program.stop()
        screen.states = dict.fromkeys(screen.states, STOPPED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description="One session, two instances, one of them killed.")
    parser.add_argument("--own-balancer", action="store_true", help="not HAProxy, also where it is installed")
    options = parser.parse_args(arguments)
    if shutil.which("redis-server") is None:
        print(f"main.py: {programs.REDIS_MISSING}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))  # close as for Ctrl-C
    code = 0
    with Screen(["A", "B"]) as screen, tempfile.TemporaryDirectory(prefix="serve-demo-") as folder:
        try:
            code = 0 if asyncio.run(demo(screen, Path(folder), own_balancer=options.own_balancer)) else 1
        except KeyboardInterrupt:
            screen.interrupted()
            code = 130
        except (RuntimeError, JackfieldError) as error:
            screen.stopped(str(error))
            code = 1
    left = descendants()
    screen.left(len(left))
    return code or (1 if left else 0)


if __name__ == "__main__":
    sys.exit(main())
