"""Instances are killed while clients call tools through HAProxy; as a program: the whole matrix.

A round opens sessions of both clients, lets each make a call, and kills one instance, or lets it stand still for a
while. Which part of a call was there is chance, as in life, so that each call is sorted after the fact: by what died
(what ran it, what its client read the standalone stream from, both), by what it was (short, long, waiting for the user)
and by its client. Rounds are run until each sort of call was seen so often.

    python -m tests.serving.cluster.kills [--store redis|postgres] [--each 20]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args
from uuid import uuid4

import anyio
import httpx2
from tests.conftest import quick_python
from tests.serving.cluster.clients import KINDS, Kind, Served, connected
from tests.serving.cluster.cluster import Cluster, Instance, missing, running_cluster, running_store

from jackfield.serving.backplane import TRUSTED_AFTER_SECONDS

Part = Literal["executor", "reader", "both"]
"""What was killed of a call: where it ran, or where its client read the standalone stream."""

Length = Literal["short", "long", "asking"]
LENGTHS: tuple[Length, ...] = get_args(Length)
CELLS = list(itertools.product(get_args(Part), LENGTHS, KINDS))

ANSWER_SECONDS = 3.0
"""Every call is answered within so long of a kill."""

GOES_ON_SECONDS = 10.0
HANG_SECONDS = 30.0
SHORT_SECONDS, LONG_SECONDS = 0.09, 1.5
"""A short call ends before its answer becomes a stream."""

MADE: tuple[Length, ...] = ("short", "long", "short", "asking") * 3
"""What the sessions of one client call in a round. Of the short ones, some end before the kill."""


@dataclass
class Call:
    """A call, and what became of it."""

    tag: str
    length: Length
    served: Served
    reader: str
    executor: str = ""
    text: str | None = None
    """Of its answer."""
    error: str | None = None
    ended_at: float | None = None

    async def make(self) -> None:
        """Call, and note how it ends."""
        try:
            match self.length:
                case "short":
                    self.text = await self.served.call("work", tag=self.tag, seconds=SHORT_SECONDS)
                case "long":
                    self.text = await self.served.call("report", tag=self.tag, seconds=LONG_SECONDS)
                case "asking":
                    self.text = await self.served.call("ask", tag=self.tag)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
        self.ended_at = time.monotonic()

    def killed(self, instance: str) -> Part | None:
        """Which part of it was on an instance."""
        match self.executor == instance, self.reader == instance:
            case True, True:
                return "both"
            case True, False:
                return "executor"
            case False, True:
                return "reader"
            case _:
                return None


@dataclass
class Matrix:
    """What was seen in all rounds."""

    rounds: int = 0
    seen: Counter[tuple[Part, Length, Kind]] = field(default_factory=Counter[tuple[Part, Length, Kind]])
    slowest: dict[tuple[Part, Length, Kind], float] = field(default_factory=lambda: defaultdict(float))
    outcomes: Counter[str] = field(default_factory=Counter[str])
    faults: list[str] = field(default_factory=list[str])
    cut: list[str] = field(default_factory=list[str])
    """Rounds that a client of the SDK ended, since its connection broke in the middle of an answer."""

    def least(self) -> int:
        """How often the rarest sort of call was seen."""
        return min(self.seen[cell] for cell in CELLS)

    def short_calls(self, kind: Kind) -> int:
        """How many short calls of a client were seen."""
        return sum(self.seen[part, "short", kind] for part in get_args(Part))

    def shown(self) -> str:
        """As a table."""
        lines = [f"{self.rounds} kills, {self.seen.total()} calls with a part on what was killed"]
        for part, length, kind in CELLS:
            cell = part, length, kind
            lines.append(f"  {part:9} {length:7} {kind:10} {self.seen[cell]:4} slowest {self.slowest[cell]:.2f} s")
        lines.append(f"  {len(self.cut)} rounds in which a client of the SDK ended with its connection")
        lines += [f"  {count:5} {outcome}" for outcome, count in self.outcomes.most_common()]
        return "\n".join([*lines, f"  {len(self.faults)} faults", *(f"    {fault}" for fault in self.faults)])


async def opened(cluster: Cluster, stack: AsyncExitStack, kind: Kind) -> tuple[Served, str]:
    """A session, and the instance from which its client reads the standalone stream."""
    before = await _readers(cluster)
    served = await stack.enter_async_context(connected(kind, cluster.url))
    with anyio.fail_after(HANG_SECONDS):
        while not (new := await _readers(cluster) - before):
            await anyio.sleep(0.01)
    if random.random() < 0.5:
        # Sessions that all make the same requests would all have their streams on the same instance.
        await served.call("where")
    return served, next(iter(new))


async def _readers(cluster: Cluster) -> Counter[str]:
    return Counter({one.name: (await one.state())["readers"] for one in cluster.instances})


async def started(
    cluster: Cluster, served: Sequence[tuple[Served, str]], tasks: anyio.abc.TaskGroup, kind: Kind
) -> list[Call]:
    """A call in each session; they run, of the short ones half of those of this client."""
    lengths = itertools.cycle(MADE)
    calls = [Call(uuid4().hex[:12], next(lengths), one, reader) for one, reader in served]
    # The short ones last: they end soon.
    short = [call for call in random.sample(calls, len(calls)) if call.length == "short"]
    others = [call for call in calls if call.length != "short"]
    for call in others:
        tasks.start_soon(call.make)
    for call in others:
        call.executor = (await cluster.until_ran(call.tag)).name
        if call.length == "asking":
            with anyio.fail_after(HANG_SECONDS):
                await call.served.asked.wait()
    for call in short:
        tasks.start_soon(call.make)
    awaited = [call for call in short if call.served.kind == kind]
    with anyio.fail_after(HANG_SECONDS):
        while sum(bool(cluster.ran(call.tag)) for call in awaited) < len(awaited) / 2:
            await anyio.sleep(0.001)
    for call in short:
        call.executor = next(iter(cluster.ran(call.tag)), "")
    return calls


async def kill_round(cluster: Cluster, matrix: Matrix, each: int) -> None:
    """Kill an instance while calls run, see what becomes of them and of their sessions, and start it again."""
    matrix.rounds += 1
    await _trusted(cluster)
    await _quiet(cluster)
    async with AsyncExitStack() as stack:
        pairs = [await opened(cluster, stack, kind) for kind in KINDS for _ in MADE]
        tasks = await stack.enter_async_context(anyio.create_task_group())
        calls = await started(cluster, pairs, tasks, min(KINDS, key=matrix.short_calls))
        victim = max(cluster.instances, key=lambda one: _worth(one, calls, matrix, each))
        killed_at = time.monotonic()
        await victim.kill()
        for call in calls:
            call.served.may_answer.set()
        with anyio.move_on_after(HANG_SECONDS):
            while any(call.ended_at is None for call in calls):
                await anyio.sleep(0.01)
        for call in calls:
            # One that never ran was on its way to what was killed.
            call.executor = call.executor or next(iter(cluster.ran(call.tag)), victim.name)
            _judge(call, victim.name, killed_at, matrix)
        await victim.start()
        async with anyio.create_task_group() as going_on:
            for call in calls:
                going_on.start_soon(_see_it_go_on, call, matrix)
        tasks.cancel_scope.cancel()
    runs = Counter(tag for tag, _ in cluster.runs)
    matrix.faults += [f"{call.length} call of {call.served.kind} ran twice" for call in calls if runs[call.tag] > 1]


def _causes(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [cause for one in error.exceptions for cause in _causes(one)]
    return [error]


async def _trusted(cluster: Cluster) -> None:
    """Wait until each instance has heard of the others for long enough to call one of them dead."""
    while (age := min(one.age for one in cluster.instances)) < TRUSTED_AFTER_SECONDS + 0.5:
        await anyio.sleep(TRUSTED_AFTER_SECONDS + 0.5 - age)


async def _quiet(cluster: Cluster) -> None:
    """Wait until no stream of an earlier round is read: its end would hide that a new one is."""
    with anyio.fail_after(HANG_SECONDS):
        while (await _readers(cluster)).total():
            await anyio.sleep(0.02)


def _worth(instance: Instance, calls: Sequence[Call], matrix: Matrix, each: int) -> int:
    """How much would be seen that was not seen often enough, if it were killed now."""
    cells = [(part, call.length, call.served.kind) for call in calls if (part := call.killed(instance.name))]
    return sum(matrix.seen[cell] < each for cell in cells if cell[1] != "short") + 2 * sum(
        matrix.seen[cell] < each for cell in cells if cell[1] == "short"
    )


def _judge(call: Call, victim: str, killed_at: float, matrix: Matrix) -> None:
    """Sort a call, and note what is wrong with its answer."""
    what = f"{call.length} call of {call.served.kind} on {call.executor}, {call.killed(victim) or 'nothing'} killed"
    if call.ended_at is None:
        matrix.faults.append(f"{what}: no answer after {HANG_SECONDS:g} s")
        return
    seconds = call.ended_at - killed_at
    if seconds < 0:
        return  # it was over before the kill
    part = call.killed(victim)
    has_answer = call.text is not None and call.text.startswith(call.tag)
    if part is not None:
        cell = part, call.length, call.served.kind
        matrix.seen[cell] += 1
        matrix.slowest[cell] = max(matrix.slowest[cell], seconds)
    matrix.outcomes[f"{part or 'neither'}: {'answered' if has_answer else f'error: {call.error}'}"[:150]] += 1
    if seconds > ANSWER_SECONDS:
        matrix.faults.append(f"{what}: answered after {seconds:.2f} s")
    if call.error is not None and part in ("reader", None):
        matrix.faults.append(f"{what}: {call.error} ({seconds:.2f} s after the kill)")


async def _see_it_go_on(call: Call, matrix: Matrix) -> None:
    """The session takes calls, and its client hears what the server tells it."""
    what = f"after the {call.length} call of {call.served.kind}"
    try:
        with anyio.fail_after(GOES_ON_SECONDS):
            for _ in range(2):
                await call.served.call("where")
            changes = call.served.changes
            await call.served.call("change")
    except Exception as error:
        matrix.faults.append(f"{what}: the session did not go on: {type(error).__name__}: {error}")
        return
    if not await call.served.until_heard(changes + 1, GOES_ON_SECONDS):
        matrix.faults.append(f"{what}: the client did not hear of a change")


async def stall_round(cluster: Cluster, victim: Instance, seconds: float, matrix: Matrix) -> None:
    """Let an instance stand still while calls run on it: each is answered once, by it or by those who took over."""
    matrix.rounds += 1
    await _trusted(cluster)
    await _quiet(cluster)
    async with AsyncExitStack() as stack:
        pairs = [await opened(cluster, stack, kind) for kind in KINDS for _ in MADE[: len(MADE) // 3]]
        tasks = await stack.enter_async_context(anyio.create_task_group())
        calls = await started(cluster, pairs, tasks, "sdk")
        victim.signal(signal.SIGSTOP)
        for call in calls:
            call.served.may_answer.set()
        try:
            await anyio.sleep(seconds)
        finally:
            victim.signal(signal.SIGCONT)
        with anyio.move_on_after(HANG_SECONDS):
            while any(call.ended_at is None for call in calls):
                await anyio.sleep(0.01)
        for call in calls:
            on_it = "stalled" if call.executor == victim.name else "elsewhere"
            if call.ended_at is None:
                matrix.faults.append(f"{call.length} call of {call.served.kind}, {on_it}: no answer")
            matrix.outcomes[f"{on_it}: {'answered' if call.text else f'error: {call.error}'}"[:150]] += 1
        async with anyio.create_task_group() as going_on:
            for call in calls:
                going_on.start_soon(_see_it_go_on, call, matrix)
        tasks.cancel_scope.cancel()
    runs = Counter(tag for tag, _ in cluster.runs)
    matrix.faults += [f"{call.length} call of {call.served.kind} ran twice" for call in calls if runs[call.tag] > 1]


async def run_matrix(
    kind: str,
    folder: Path,
    *,
    each: int,
    rounds: int,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Matrix:
    """Kill until each sort of call was seen so often, or so many rounds are over."""
    matrix = Matrix()
    async with running_store(kind) as store:
        async with running_cluster(folder, instances=2, store=store, python=python, environment=environment) as cluster:
            while matrix.least() < each and matrix.rounds < rounds:
                try:
                    await kill_round(cluster, matrix, each)
                except Exception as error:
                    # The SDK's client ends where a connection breaks between the head of an answer and its body.
                    places = (
                        matrix.cut if set(map(type, _causes(error))) == {httpx2.RemoteProtocolError} else matrix.faults
                    )
                    places.append(f"a client failed as a whole: {_causes(error)!r}")
                    for instance in cluster.instances:
                        await instance.restart()
                await cluster.until_balanced()
                if matrix.faults:
                    print(
                        "\n".join(line for line in cluster.proxy_log.read_text().splitlines()[-400:] if " 50" in line)
                    )
                counts = " ".join(f"{matrix.seen[cell]}" for cell in CELLS)
                print(
                    f"{matrix.rounds} kills, seen {counts}, cut {len(matrix.cut)}, faults: {matrix.faults}", flush=True
                )
    return matrix


async def run_stalls(
    kind: str, folder: Path, *, rounds: int, python: str = sys.executable, environment: Mapping[str, str] | None = None
) -> Matrix:
    """Stalls of 3 s, which may or may not be taken for a death, and of 6 s, which are."""
    matrix = Matrix()
    async with running_store(kind) as store:
        async with running_cluster(folder, instances=2, store=store, python=python, environment=environment) as cluster:
            for number in range(rounds):
                await stall_round(cluster, cluster.instances[number % 2], (3.0, 6.0)[number // 2 % 2], matrix)
                await cluster.until_balanced()
    return matrix


def main() -> int:
    """Run the whole matrix; 1 if anything was not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["redis", "postgres"], default="redis")
    parser.add_argument("--each", type=int, default=20, help="how often each sort of call is to be seen")
    parser.add_argument("--stalls", type=int, default=20)
    options = parser.parse_args()
    if (text := missing()) is not None:
        print(text, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        python, rounds = quick_python(), 8 * options.each
        kills = asyncio.run(
            run_matrix(options.store, Path(folder, "kills"), each=options.each, rounds=rounds, python=python)
        )
        print(kills.shown())
        stalls = asyncio.run(run_stalls(options.store, Path(folder, "stalls"), rounds=options.stalls, python=python))
        print(f"{stalls.rounds} stalls\n" + "\n".join(f"  {n:5} {what}" for what, n in stalls.outcomes.most_common()))
        print("\n".join(f"    {fault}" for fault in stalls.faults))
    return 1 if kills.faults or stalls.faults or kills.least() < options.each else 0


if __name__ == "__main__":
    sys.exit(main())
