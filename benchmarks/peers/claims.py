"""What a client of MCP servers should do, one function a claim; run in each peer's environment.

    python claims.py DRIVER CLAIM WAY TOKEN SERVER_PYTHON

tries a claim in one way of a driver, and prints what was seen as JSON. `run.py` runs them all. Whether what was
seen is a yes is decided here, by the same code for all.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.metadata
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from subject import MARK, Driver, NoEndError, Server, Starts, Way, cancellable, eventually, running, within

SERVERS = Path(__file__).resolve().parents[2] / "tests" / "servers"
SECRET = "s3cret-" + "value"
QUICK = 15.0
"""Seconds in which anything that works has happened, on a busy machine too."""


@dataclass(frozen=True)
class Seen:
    """What came of a claim in one way of use."""

    holds: bool | Literal["not offered"]
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


def number_in(answer: Any) -> str:
    """The number that a tool answered, however it is wrapped."""
    return (re.search(r"\d+", answer.text) or [answer.text])[0]


def is_on(answer: Any) -> bool:
    """Whether the tool `echo` said "on"."""
    return re.search(r"\bon\b", getattr(answer, "text", "")) is not None and not answer.is_error


def words_of(answer: Any) -> str:
    """An answer or an error in one line."""
    words = said(answer) if isinstance(answer, BaseException) else " ".join(answer.text.split())[:140]
    return words or "an error without a word"


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


# When servers start and end


async def starts_only_what_is_called(trial: Trial, way: Way) -> Seen:
    """A server is started when a tool of it is called, not before (from the second run on)."""
    servers = [trial.unruly(name="one"), trial.unruly(name="other")]

    async def run() -> tuple[int, int, int]:
        async with way(servers) as subject:
            offered = await subject.tools()
            before = len(starts.seen)
            await subject.call(next((name for name in offered if name.endswith("count")), "count"))
            await asyncio.sleep(0.2)
            return before, len(starts.seen), len(offered)

    for _ in range(2):
        with trial.starts() as starts:
            figures = await outcome(run(), 30)
    if isinstance(figures, BaseException):
        return Seen(False, said(figures))
    seen = "{} of 2 started before the call, {} in all; {} tools in the prompt".format(*figures)
    return Seen(figures[1] == 1, seen)


async def child_ends_with_the_block(trial: Trial, way: Way) -> Seen:
    """The server's process has ended when the block is left, without an error."""
    async with way([trial.unruly()]) as subject:
        await subject.call("echo", {"text": "x"})
    gone = await eventually(lambda: not trial.running(), 5)
    del subject
    gc.collect()
    await asyncio.sleep(0.2)
    note = f"; logged: {trial.unraised[0]}" if trial.unraised else ""
    return Seen(gone and not note, ("no process left" if gone else "its process still runs 5 s later") + note)


async def helper_ends_with_the_block(trial: Trial, way: Way) -> Seen:
    """So has what the server started, such as a browser."""
    async with way([trial.unruly("--helper", "group")]) as subject:
        await subject.call("echo", {"text": "x"})
    gone = await eventually(lambda: not trial.running(), 5)
    return Seen(gone, "no process left" if gone else f"{len(trial.running())} still running 5 s later")


async def stubborn_child_is_killed(trial: Trial, way: Way) -> Seen:
    """A server that ignores the end of its stdin and SIGTERM is killed."""

    async def use() -> None:
        async with way([trial.unruly("--ignore-eof", "--ignore-sigterm")]) as subject:
            await subject.call("echo", {"text": "x"})

    ended = await outcome(use(), 30)
    gone = await eventually(lambda: not trial.running(), 5)
    note = f"; {said(ended)}" if isinstance(ended, BaseException) else ""
    return Seen(gone and not note, ("no process left" if gone else "still running") + note)


async def left_in_another_task(trial: Trial, way: Way) -> Seen:
    """A block entered in one task can be left in another (web frameworks, test fixtures, pools)."""
    block = way([trial.unruly()])
    subject = await asyncio.create_task(enter(block))
    await subject.call("echo", {"text": "x"})
    left = await outcome(asyncio.create_task(block.__aexit__(None, None, None)))  # type: ignore[arg-type]
    gone = await eventually(lambda: not trial.running(), 5)
    errors = [left] if isinstance(left, BaseException) else []
    notes = [said(error) for error in errors] + trial.unraised
    note = f"; {notes[0]}" if notes else ""
    return Seen(gone and not note, ("no process left" if gone else "its process still runs 5 s later") + note)


async def enter(block: AbstractAsyncContextManager[Any]) -> Any:
    """Enter it in the task that runs this."""
    return await block.__aenter__()


async def ten_at_once_start_one(trial: Trial, visits: Any) -> Seen:
    """Ten tasks that want a user's session at the same time get one, and it ends."""
    with trial.starts() as starts:
        async with visits(trial.unruly("--start-delay", "0.3")) as visit:

            async def user() -> str:
                async with visit("ada") as subject:
                    await asyncio.sleep(1)
                    return number_in(await subject.call("pid"))

            pids = await outcome(asyncio.gather(*(user() for _ in range(10))), 30)
        gone = await eventually(lambda: not trial.running(), 5)
    if isinstance(pids, BaseException):
        return Seen(False, said(pids))
    left = "none left" if gone else f"{len(trial.running())} still running 5 s later"
    return Seen(len(set(pids)) == 1 and len(starts.seen) == 1 and gone, f"{len(starts.seen)} started, {left}")


# State


async def keeps_state(trial: Trial, way: Way) -> Seen:
    """What a server keeps (a page, a transaction) is there at the next call."""
    async with way([trial.everything()]) as subject:
        counts = [number_in(await subject.call("count")) for _ in range(3)]
    return Seen(counts == ["1", "2", "3"], f"a counter said {', '.join(counts)}")


async def own_state_for_each_user(trial: Trial, visits: Any) -> Seen:
    """Two users of one client each have their own state, and find it again when they come back."""
    async with visits(trial.everything()) as visit:
        counts: list[str] = []
        for user in ("ada", "bob", "ada"):
            async with visit(user) as subject:
                counts.append(number_in(await subject.call("count")))
    return Seen(counts == ["1", "1", "2"], f"counters of Ada, Bob, Ada: {', '.join(counts)}")


# Failures


async def start_is_bounded(trial: Trial, way: Way) -> Seen:
    """A server that never answers costs a bounded time, by default."""

    async def use() -> object:
        async with way([trial.unruly("--silent")]) as subject:
            return await subject.tools()

    started = time.monotonic()
    ended = await outcome(use(), 45)
    seconds = time.monotonic() - started
    if isinstance(ended, NoEndError):
        return Seen(False, f"{ended}")
    return Seen(isinstance(ended, Exception), f"after {seconds:.0f} s: {said(ended)}")


async def failed_start_says_why(trial: Trial, way: Way) -> Seen:
    """The error of a server that does not start has the server's own words."""
    code = "import sys; print('no such', 'database', file=sys.stderr); sys.exit(3)"

    async def use() -> object:
        async with way([trial.python_server("-c", code)]) as subject:
            return await subject.tools()

    ended = await outcome(use(), 45)
    if not isinstance(ended, Exception):
        return Seen(False, "it seemed to start")
    return Seen("no such database" in "".join(traceback.format_exception(ended)), said(ended))


async def one_that_fails_spares_the_others(trial: Trial, way: Way) -> Seen:
    """Of two servers one cannot be started: the other's tools can be used."""

    async def use() -> Any:
        broken = Server("broken", "no-such-command", ["x"], {MARK: f"{trial.token}/broken"})
        async with way([broken, trial.unruly()]) as subject:
            names = await subject.tools()
            return await subject.call(next(name for name in names if name.endswith("echo")), {"text": "on"})

    answer = await outcome(use(), 60)
    return Seen(is_on(answer), "answered" if is_on(answer) else words_of(answer))


async def crash_is_told_at_once(trial: Trial, way: Way) -> Seen:
    """A server that dies in the middle of a call: its caller is told, and need not wait."""
    async with way([trial.unruly()]) as subject:
        started = time.monotonic()
        answer = await outcome(subject.call("crash", {"code": 1}), 60)
        seconds = time.monotonic() - started
    if isinstance(answer, NoEndError):
        return Seen(False, str(answer))
    return Seen(seconds < 5, f"after {seconds:.1f} s: {words_of(answer)}")


async def goes_on_after_a_crash(trial: Trial, way: Way) -> Seen:
    """A server that was killed between two calls is started again by the next."""
    async with way([trial.everything()]) as subject:
        await subject.call("echo", {"text": "x"})
        for process in trial.running():
            os.kill(process, signal.SIGKILL)
        await asyncio.sleep(0.5)
        answer = await outcome(subject.call("echo", {"text": "on"}), 20)
    return Seen(is_on(answer), "answered" if is_on(answer) else words_of(answer))


WORK = {"n": 1, "seconds": 0, "bytes": 0}
"""All that the rig's tools take: a null for what was left out would not do."""


async def goes_on_after_a_restart(trial: Trial, way: Way) -> Seen:
    """A remote server that was restarted and forgot the session: the next call is answered."""
    async with (
        trial.remote(trial.driver.remote, "--fault", "crash", "--when", "idle") as server,
        way([server]) as subject,
    ):
        await outcome(subject.call("work", WORK), 20)
        await asyncio.sleep(1)
        answer = await outcome(subject.call("work", {**WORK, "n": 2}), 20)
    ok = "work 2" in getattr(answer, "text", "")
    return Seen(ok, "answered" if ok else words_of(answer))


# Calls


async def cancelled_call_stops(trial: Trial, way: Way) -> Seen:
    """A call that is cancelled is cancelled on the server, too, and the session goes on."""
    async with way([trial.unruly()]) as subject:
        before = trial.running()
        call, cancel = cancellable(subject, "sleep", {"seconds": 30})
        assert await eventually(lambda: trial.logged("run sleep"), QUICK)
        busy = trial.running() - before or before
        try:
            cancel()
        except Exception as error:
            return Seen(False, f"cancelling raised {said(error)}")
        stopped = await outcome(call)
        told = await eventually(lambda: trial.logged("cancelled") or not (trial.running() & busy), 3)
        answer = await outcome(subject.call("echo", {"text": "on"}))
    on = is_on(answer)
    if isinstance(stopped, NoEndError):
        return Seen(False, "the call goes on")
    words = "the server was told" if trial.logged("cancelled") else "its process was ended"
    words = words if told else "the server was not told and works on"
    return Seen(told and on, words + ("" if on else f"; then {words_of(answer)}"))


async def takes_as_long_as_it_takes(trial: Trial, way: Way) -> Seen:
    """A call of 6 seconds is answered, by default."""
    async with way([trial.unruly()]) as subject:
        answer = await outcome(subject.call("sleep", {"seconds": 6}), 30)
    ok = "slept" in getattr(answer, "text", "")
    return Seen(ok, "answered" if ok else words_of(answer))


async def call_can_be_bounded(trial: Trial, bounded: Any) -> Seen:
    """Calls can be given a bound of one's own; beyond it the server is told, and the session goes on."""
    async with bounded(trial.unruly(), 1.0) as subject:
        before = trial.running()
        first = await outcome(subject.call("sleep", {"seconds": 20}), QUICK)
        ended = await eventually(lambda: trial.logged("cancelled") or not trial.running() - before, 2)
        second = await outcome(subject.call("echo", {"text": "on"}))
    if isinstance(first, NoEndError):
        return Seen(False, str(first))
    words = "the server was told" if trial.logged("cancelled") else "its process was ended"
    if not ended or (before and not trial.logged("cancelled")):
        words, ended = "the server was not told and works on", False
    return Seen(is_on(second) and ended, f"{words}; {'the session goes on' if is_on(second) else words_of(second)}")


async def checks_arguments(trial: Trial, way: Way) -> Seen:
    """Arguments that do not fit the schema are an error before anything is sent."""
    async with way([trial.unruly()]) as subject:
        answer = await outcome(subject.call("add", {"a": "one"}), 3)
        sent = trial.logged("run add")
    return Seen(not sent, "sent" if sent else f"not sent: {words_of(answer)}")


async def bounds_what_comes_back(trial: Trial, way: Way) -> Seen:
    """A result of 40 MB is refused, by default, and the session goes on."""
    async with way([trial.unruly()]) as subject:
        answer = await outcome(subject.call("flood", {"bytes": 40 * 1024 * 1024}), 90)
        second = await outcome(subject.call("echo", {"text": "on"}))
    if isinstance(answer, NoEndError):
        return Seen(False, str(answer))
    if not isinstance(answer, BaseException) and len(answer.text) > 1_000_000:
        return Seen(False, "taken")
    return Seen(is_on(second), words_of(answer) + ("" if is_on(second) else f"; then {words_of(second)}"))


# What a model is shown and what arrives


async def all_pages(trial: Trial, way: Way) -> Seen:
    """A listing of three pages is read to its end."""
    async with way([trial.unruly("--pages", "3")]) as subject:
        names = await subject.tools()
    pages = 1 + sum(name.endswith(("page1", "page2")) for name in names)
    return Seen(pages == 3, f"{pages} of 3 pages")


async def whole_schema(trial: Trial, way: Way) -> Seen:
    """The model is shown the server's whole schema: every `$ref` leads somewhere, no constraint is lost."""
    async with way([trial.everything()]) as subject:
        order = dict(await outcome(subject.schema("order")))
        preferences = dict(await outcome(subject.schema("preferences")))
    text = json.dumps([order, preferences])
    dangling = "#/$defs/" in text and "$defs" not in order
    lost = [word for word in ('"small"', '"large"', '"integer"') if word not in text]
    items = "customer" in text and '"items"' in text and '"name"' in text
    words = "a `$ref` into `$defs` that are left out" if dangling else f"lost: {', '.join(lost)}" if lost else ""
    return Seen(not words and items, words or ("whole" if items else "nested properties are lost"))


async def names_never_collide(trial: Trial, way: Way) -> Seen:
    """Two servers with tools of the same names: each can be called."""
    async with way([trial.unruly(name="first"), trial.unruly(name="second")]) as subject:
        names = await subject.tools()
        mine = sorted(name for name in names if name.endswith("pid"))
        if len(set(mine)) < 2:
            return Seen(False, f"{len(mine)} tools, all named {mine[0]}" if mine else "none")
        pids = {number_in(await subject.call(name)) for name in mine}
    return Seen(len(pids) == 2, ", ".join(mine))


async def odd_names_do_no_harm(trial: Trial, way: Way) -> Seen:
    """A tool whose name no model API takes (`odd.name/with:colons`, 80 letters) is renamed, and can be called."""
    async with way([trial.everything()]) as subject:
        names = await outcome(subject.tools())
        if isinstance(names, BaseException):
            return Seen(False, said(names))
        valid = all(len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() for name in names)
        odd = [name for name in names if name.startswith(("odd", "everything_odd"))]
        answer = await outcome(subject.call(odd[0])) if odd else "left out"
    return Seen(valid and "odd" in getattr(answer, "text", ""), f"offered as {odd[0]}" if odd else "left out")


ARGUMENTS: dict[str, Any] = {
    "config": {"x": [1, None]},
    "runtime": "r",
    "name": "n",
    "with space": True,
}


async def arguments_arrive(trial: Trial, way: Way) -> Seen:
    """Arguments arrive as they were given, whatever their names (`config`, `runtime`, `with space`)."""
    async with way([trial.everything()]) as subject:
        answer = await outcome(subject.call("free_form", ARGUMENTS))
    if isinstance(answer, BaseException) or answer.is_error:
        return Seen(False, words_of(answer))
    echoed = re.search(r"\{.*\}", answer.text)
    arrived = json.loads(echoed[0]) if echoed else {}
    lost = [name for name in ARGUMENTS if arrived.get(name) != ARGUMENTS[name]]
    return Seen(arrived == ARGUMENTS, f"lost: {', '.join(lost)}" if lost else words_of(answer))


async def left_out_stays_out(trial: Trial, way: Way) -> Seen:
    """An optional argument that the model leaves out is not sent, not as `null` either."""
    async with way([trial.rig()]) as subject:
        answer = await outcome(subject.call("count"), 3)
    if trial.logged("run count None"):
        return Seen(False, "sent as `null`")
    return Seen(number_in(answer) == "1", words_of(answer))


PNG_START = "iVBORw0KGgo"


async def images_arrive(trial: Trial, way: Way) -> Seen:
    """A picture reaches the framework as one, and is no base64 text in the prompt."""
    async with way([trial.everything()]) as subject:
        answer = await outcome(subject.call("picture"))
    if isinstance(answer, BaseException):
        return Seen(False, said(answer))
    if PNG_START in answer.text:
        return Seen(False, "as base64 in the text")
    return Seen(answer.images == 1 and "One pixel" in answer.text, f"{answer.images} picture, and its text")


async def other_content_is_no_error(trial: Trial, way: Way) -> Seen:
    """A result with audio, embedded resources and a link is no error, and none is lost without a word."""
    async with way([trial.everything()]) as subject:
        answer = await outcome(subject.call("media"))
    if isinstance(answer, BaseException) or answer.is_error:
        return Seen(False, words_of(answer))
    return Seen("a text" in answer.text or "[resource]" in answer.text, words_of(answer))


async def tool_errors_are_told(trial: Trial, way: Way) -> Seen:
    """An error that a tool reports reaches the model as an error, with the tool's words."""
    async with way([trial.everything()]) as subject:
        answer = await outcome(subject.call("fail", {"why": "no luck"}))
    if isinstance(answer, BaseException):
        return Seen(False, f"raised: {said(answer)}")
    words = words_of(answer) if answer.is_error else f"marked as success: {words_of(answer)}"
    return Seen("no luck" in answer.text and answer.is_error, words)


async def text_is_text(trial: Trial, way: Way) -> Seen:
    """A text that a tool answers is what the model is shown."""
    async with way([trial.unruly()]) as subject:
        answer = await subject.call("echo", {"text": "on"})
    return Seen(answer.text == "on", answer.text)


async def listing_is_free(trial: Trial, way: Way) -> Seen:
    """The framework asks for the tools at each step: the server is not asked while nothing changed."""
    if not trial.driver.lists_at_each_step:
        return Seen("not offered", "its agents are given a list once")
    async with way([trial.everything()]) as subject:
        first = int(number_in(await subject.call("listed")))
        for _ in range(5):
            await subject.tools()
        more = int(number_in(await subject.call("listed"))) - first
    return Seen(more <= 1, f"5 steps: asked {more} times")


# Beyond


async def secrets_are_not_printed(trial: Trial, printed: Any) -> Seen:
    """A token in a server's environment is shown by no `repr` and no dump."""
    shown = printed(trial.everything(LIBRARY_TOKEN=SECRET))
    showing = [name for name, text in shown.items() if SECRET in text]
    return Seen(not showing, f"shown by {', '.join(showing)}" if showing else "not shown")


async def server_with_tools_only(trial: Trial, way: Way) -> Seen:
    """A server that has tools, and no resources, can be used as the documentation begins."""
    async with way([trial.unruly()]) as subject:
        answer = await subject.call("echo", {"text": "on"})
    return Seen(is_on(answer), words_of(answer))


async def streamable_http(trial: Trial, way: Way) -> Seen:
    """Servers over Streamable HTTP can be used."""
    async with trial.remote("http") as server, way([server]) as subject:
        answer = await subject.call("work", WORK)
    ok = "work 1" in answer.text
    return Seen(ok, "answered" if ok else words_of(answer))


async def both_protocols(trial: Trial, way: Way) -> Seen:
    """Speaks the protocol of 2026-07-28 with servers that speak no other."""
    sdk = importlib.metadata.version("mcp")

    async def use() -> Any:
        async with way([trial.rig("--era", "modern")]) as subject:
            return await subject.call("work", WORK)

    answer = await outcome(use(), 30)
    ok = "work 1" in getattr(answer, "text", "")
    return Seen(ok, f"{'answered' if ok else words_of(answer)} (with the SDK {sdk})")


async def tells_nobody(trial: Trial, way: Way) -> Seen:
    """Using a server over stdio contacts nobody else."""
    hosts: set[str] = set()
    look_up = socket.getaddrinfo

    def noted(host: Any, *more: Any, **options: Any) -> Any:
        hosts.add(str(host))
        return look_up(host, *more, **options)

    socket.getaddrinfo = noted  # type: ignore[assignment]
    async with way([trial.everything()]) as subject:
        await subject.call("echo", {"text": "x"})
        await asyncio.sleep(3)
    return Seen(not hosts, f"looked up {', '.join(sorted(hosts))}" if hosts else "nobody")


@dataclass(frozen=True)
class Row:
    """A claim, and the test that proves ours."""

    claim: Any
    ours: str
    by: Literal["ways", "visits", "bounded", "printed"] = "ways"
    without: str = ""
    """Why it is not offered where the peer has no such way."""

    @property
    def name(self) -> str:
        """By which it is run."""
        return self.claim.__name__

    @property
    def text(self) -> str:
        """As the tables say it."""
        return self.claim.__doc__.strip().rstrip(".")


CONTRACT = "tests/adapters/contract/test_contract.py"
TOOLKIT = "tests/toolkit/test_toolkit.py"
GROUPS = {
    "Processes": [
        Row(
            starts_only_what_is_called,
            "tests/router/test_router.py::test_finding_starts_nothing_and_calling_starts_one",
        ),
        Row(child_ends_with_the_block, f"{CONTRACT}::test_nothing_is_left"),
        Row(
            helper_ends_with_the_block,
            "tests/transport/test_process_tree.py::test_a_helper_left_behind_by_a_clean_exit_is_ended",
        ),
        Row(
            stubborn_child_is_killed,
            "tests/transport/test_process_tree.py::test_a_server_that_ignores_everything_is_killed_within_its_close_timeout",
        ),
        Row(left_in_another_task, "tests/manager/test_exits.py::test_left_in_another_task_than_entered"),
        Row(
            ten_at_once_start_one,
            "tests/manager/test_leases.py::test_a_hundred_leases_on_one_key_open_one_session",
            by="visits",
        ),
    ],
    "State": [
        Row(keeps_state, f"{CONTRACT}::test_state_is_kept_from_call_to_call"),
        Row(
            own_state_for_each_user,
            "tests/manager/test_users.py::test_fifty_users_at_once_each_have_their_own_state",
            by="visits",
        ),
    ],
    "Failures": [
        Row(start_is_bounded, "tests/manager/test_bad_input.py::test_one_that_never_answers"),
        Row(failed_start_says_why, "tests/manager/test_bad_input.py::test_one_that_exits_at_once_is_quoted"),
        Row(
            one_that_fails_spares_the_others,
            "tests/adapters/test_autogen.py::test_a_dead_server_does_not_take_the_others_down",
        ),
        Row(crash_is_told_at_once, "tests/reliability/test_table.py::test_cell"),
        Row(goes_on_after_a_crash, "tests/reliability/test_table.py::test_cell"),
        Row(goes_on_after_a_restart, "tests/reliability/test_table.py::test_cell"),
    ],
    "Calls": [
        Row(
            cancelled_call_stops,
            f"{CONTRACT}::test_a_cancelled_call_is_cancelled_on_the_server_and_the_session_goes_on",
        ),
        Row(
            takes_as_long_as_it_takes,
            "tests/docs/test_tables.py::test_every_session_setting_is_documented_with_its_default",
        ),
        Row(
            call_can_be_bounded,
            "tests/session/test_session.py::test_progress_and_timeout_told_to_the_server",
            by="bounded",
            without="its tools take no bound",
        ),
        Row(checks_arguments, "tests/manager/test_bad_input.py::test_arguments_that_do_not_fit"),
        Row(
            bounds_what_comes_back,
            "tests/reliability/test_limits.py::test_a_result_of_fifty_megabytes_is_refused_by_default",
        ),
    ],
    "What the model is shown, and what arrives": [
        Row(all_pages, "tests/manager/test_bad_input.py::test_all_pages_of_a_listing"),
        Row(whole_schema, f"{CONTRACT}::test_the_whole_schema_reaches_the_model"),
        Row(names_never_collide, f"{TOOLKIT}::test_several_servers_with_the_same_tools"),
        Row(odd_names_do_no_harm, f"{TOOLKIT}::test_odd_and_long_names_are_made_valid_and_still_work"),
        Row(arguments_arrive, f"{CONTRACT}::test_names_of_arguments_arrive_unchanged"),
        Row(left_out_stays_out, f"{CONTRACT}::test_names_of_arguments_arrive_unchanged"),
        Row(text_is_text, f"{CONTRACT}::test_text"),
        Row(images_arrive, f"{CONTRACT}::test_a_picture_and_what_is_said_of_it"),
        Row(other_content_is_no_error, f"{CONTRACT}::test_what_is_neither_text_nor_picture_is_named"),
        Row(tool_errors_are_told, f"{CONTRACT}::test_an_error_of_the_tool_is_told"),
        Row(
            listing_is_free,
            "tests/adapters/test_autogen.py::test_nothing_is_opened_before_tools_are_asked_for_and_listing_is_free_afterwards",
        ),
    ],
    "Beyond": [
        Row(server_with_tools_only, f"{CONTRACT}::test_nothing_is_left"),
        Row(streamable_http, "tests/session/test_session.py::test_all_requests"),
        Row(both_protocols, "tests/session/test_session.py::test_all_requests"),
        Row(
            secrets_are_not_printed,
            "tests/config/test_secrets.py::test_secrets_given_in_code",
            by="printed",
            without="the configuration is a plain dict of yours",
        ),
        Row(tells_nobody, "tests/session/test_session.py::test_a_session_over_stdio_contacts_nobody"),
    ],
}
ROWS = [row for rows in GROUPS.values() for row in rows]


async def tried(row: Row, trial: Trial, way: Any) -> Seen:
    """One claim in one way; an error that the claim did not expect is what was seen."""
    asyncio.get_running_loop().set_exception_handler(trial.note_unraised)
    try:
        return await row.claim(trial, way)
    except NoEndError as error:
        return Seen(False, str(error))
    except asyncio.CancelledError as error:
        # A cancel scope that is closed by the garbage collector cancels the task that once entered it.
        return Seen(False, f"the code after the block was cancelled: {error}"[:120])
    except Exception as error:
        traceback.print_exc()
        return Seen(False, said(error))


def main() -> None:
    """Try a claim in one way, and print what came of it, and how many ways there are."""
    driver_name, claim_name, number, token, python = sys.argv[1:]
    driver: Driver = importlib.import_module(f"drivers.{driver_name}").DRIVER
    row = next(row for row in ROWS if row.name == claim_name)
    ways: Mapping[str, Any] = driver.special.get(row.name, getattr(driver, row.by))
    if not ways:
        print(json.dumps({"way": "", "holds": "not offered", "seen": row.without, "ways": 1}))
        return
    label, way = list(ways.items())[int(number)]
    seen = asyncio.new_event_loop().run_until_complete(tried(row, Trial(driver, token, python), way))
    what = " ".join(seen.what.replace(python, "python").replace(str(SERVERS), "servers").split())
    print(json.dumps({"way": label, "holds": seen.holds, "seen": what, "ways": len(ways)}), flush=True)
    os._exit(0)  # what a peer leaves behind may never end


if __name__ == "__main__":
    main()
