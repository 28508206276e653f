"""Speaks to a server over stdio without the SDK, the models and an event loop: importing these takes most of a call.

Only a server whose protocol version the catalog knows, and whose entry has no settings, is spoken to like this, and
only as far as it does what is usual. What is not raises `NotDirectError` as long as nothing was asked but a handshake
and a listing; the session of the library then begins again (`live`). What goes wrong later is told in the library's own
words, which are imported for that.

Source: MCP 2025-11-25 and 2026-07-28, basic/lifecycle, basic/transports "stdio".
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from .._version import __version__
from ..errors import JackfieldError, RequestError, SessionTimeoutError
from ..plain import as_list, as_table
from ..transport.program import ENDING, REAP_SECONDS, StartedProgram, start_program
from .kept import run_kept
from .targets import HANDSHAKE_VERSIONS, MODERN_VERSIONS, Target, known_version

if TYPE_CHECKING:
    from ..config.launch import Launch
    from ..transport.report import ConnectionReport
    from .steps import ProgressListener, Request, Result, Steps

# The settings of a server that has none of its own; `tests/cli/test_direct.py` compares them with the models'.
OPEN_SECONDS = 30.0
CALL_SECONDS = 120.0
CLOSE_SECONDS = 5.0
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
MAX_PAGES = 1000
MAX_STDERR_BYTES = 64 * 1024

_READ_BYTES = 65536
_LAST_WORDS_SECONDS = 0.5
_POLL_SECONDS = 0.01
_REFRESH_SECONDS = 3600.0
"""A listing that is the same is written to the catalog again after so long."""

_PREFIX = "io.modelcontextprotocol/"
_INFO = {"name": "jackfield", "version": __version__}
_LISTED = {
    "tools/list": ("tools", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
    "prompts/list": ("prompts", "name"),
}
_BLOCKS = {
    "text": ("text",),
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
}
"""What a block must have as texts, by its type. Other blocks are left to the models."""


class NotDirectError(Exception):
    """The server does something that is left to the session of the library."""


def run_direct(
    target: Target,
    launch: Launch,
    first: Request,
    steps: Steps,
    *,
    deadline: float | None,
    on_progress: ProgressListener | None,
) -> Result:
    """Open the server, make the steps, close it; returns their results.

    Args:
        target: The server.
        launch: How its program is started.
        first: What the steps ask first.
        steps: What to ask of it after that.
        deadline: Of all, on the monotonic clock.
        on_progress: Gets the progress of tool calls.

    Raises:
        NotDirectError: Something is not as usual, and nothing was asked but the handshake and `first`.
        JackfieldError: As the steps.
        KeyboardInterrupt: By Ctrl-C, after the server is fully closed.
        SystemExit: By SIGTERM and SIGHUP, likewise.
    """
    with _interrupts() as interrupts:
        session = DirectSession(target, launch, known_version(target), interrupts, deadline)
        try:
            session.shake_hands()
            return run_kept(session, _from(first, steps), timeout=None, on_progress=on_progress)
        finally:
            session.close()


def _from(request: Request, steps: Steps) -> Steps:
    """Steps that have been asked for their first request already; left as they are if that is not answered here."""
    try:
        while True:
            try:
                answer = yield request
            except JackfieldError as error:
                request = steps.throw(error)
            else:
                request = steps.send(answer)
    except StopIteration as end:
        return end.value


class _Interrupts:
    """The signals that came, and a pipe that has something to read once one has."""

    def __init__(self) -> None:
        self.came: list[int] = []
        readable, self._writable = os.pipe()
        self.readable: int = readable
        """Has something to read once a signal came."""
        os.set_blocking(self._writable, False)
        self.is_ignored: bool = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second Ctrl-C while the server is closed ends the waiting there."""
        self.came.append(number)
        with contextlib.suppress(OSError):
            os.write(self._writable, b"x")

    def check(self) -> None:
        """Raise what a signal stands for.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            SystemExit: It was another.
        """
        if self.came and not self.is_ignored:
            raise KeyboardInterrupt if self.came[0] == signal.SIGINT else SystemExit(128 + self.came[0])

    def close(self) -> None:
        """Free the pipe."""
        os.close(self.readable)
        os.close(self._writable)


@contextlib.contextmanager
def _interrupts() -> Generator[_Interrupts]:
    interrupts = _Interrupts()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    # One that is ignored, such as by nohup, stays so.
    mine = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in mine:
        signal.signal(number, interrupts.note)
    try:
        yield interrupts
        interrupts.is_ignored = False
        interrupts.check()
    finally:
        for number in mine:
            signal.signal(number, before[number])
        interrupts.close()


class DirectSession:
    """One session with a server over stdio.

    Args:
        target: The server.
        launch: How its program is started.
        version: The protocol version that it speaks.
        interrupts: End the waiting.
        deadline: Of everything, on the monotonic clock.
    """

    def __init__(
        self, target: Target, launch: Launch, version: str, interrupts: _Interrupts, deadline: float | None
    ) -> None:
        self._target = target
        self._launch = launch
        self._told: list[ConnectionReport] = []
        self._name = target.server_name
        self._version = version
        self._interrupts = interrupts
        self._deadline = deadline
        self._began = time.monotonic()
        self._open_seconds = 0.0
        self._server: Mapping[str, Any] = {}
        self._next_id = 0
        self._asked: int | None = None
        self._has_begun = False
        """Whether the first request was answered, so that the library can no longer begin again."""
        self._buffer = bytearray()
        self._searched = 0
        self._stderr = bytearray()
        self._stderr_bytes = 0
        self._noise: list[bytes] = []
        self._open_pipes: set[int] = set()
        self._program: StartedProgram = start_program(launch)
        for descriptor in (self._program.stdin, self._program.stdout, self._program.stderr):
            os.set_blocking(descriptor, False)
        self._open_pipes |= {self._program.stdout, self._program.stderr}

    # Asking

    def shake_hands(self) -> None:
        """Make the handshake.

        Raises:
            NotDirectError: Something is not as usual.
            JackfieldError: It took too long.
        """
        until = self._until(OPEN_SECONDS)
        if self._version in MODERN_VERSIONS:
            answer = self._ask("server/discover", {}, until, None)
            if self._version not in as_list(answer.get("supportedVersions")):
                raise NotDirectError
            self._server = {**answer, "serverInfo": as_table(answer.get("_meta")).get(f"{_PREFIX}serverInfo")}
        else:
            wanted = {"protocolVersion": HANDSHAKE_VERSIONS[0], "capabilities": {}, "clientInfo": _INFO}
            self._server = self._ask("initialize", wanted, until, None)
            if self._server.get("protocolVersion") not in HANDSHAKE_VERSIONS:
                raise NotDirectError
            self._version = self._server["protocolVersion"]
            self._write({"jsonrpc": "2.0", "method": "notifications/initialized"}, until, "initialize")
        self._open_seconds = time.monotonic() - self._began

    def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        call_timeout: float | None,
        on_progress: ProgressListener | None,
    ) -> Result:
        """Make one request of MCP; of a listing, all pages are asked for.

        Raises:
            JackfieldError: As the methods of `Session`.
            NotDirectError: A listing is not as usual.
        """
        until = self._until(CALL_SECONDS)
        if method in _LISTED:
            answer = self._listed(method, until)
        else:
            answer = self._checked(method, self._ask(method, params, until, on_progress))
        self._has_begun = True
        return answer

    def _listed(self, method: str, until: float) -> Result:
        key, named = _LISTED[method]
        entries: list[Any] = []
        cursors: set[str] = set()
        params: dict[str, Any] = {}
        while True:
            page = self._ask(method, params, until, None)
            found, cursor = page.get(key), page.get("nextCursor")
            if not isinstance(found, list) or not isinstance(cursor, str | None):
                raise self._unusual(method, "a page is no page")
            entries += as_list(cast("object", found))
            if cursor is None:
                break
            if cursor in cursors or len(cursors) >= MAX_PAGES:
                raise self._unusual(method, "its pages have no end")
            cursors.add(cursor)
            params = {"cursor": cursor}
        names = [as_table(entry).get(named) for entry in entries]
        if not all(isinstance(name, str) for name in names) or len(set(map(str, names))) < len(names):
            raise self._unusual(method, f"not every entry has a {named} of its own")
        if method == "tools/list":
            if not all(as_table(as_table(entry).get("inputSchema")).get("type") == "object" for entry in entries):
                raise self._unusual(method, "not every tool has a schema of an object")
            self._remember(entries)
        return {key: entries}

    def _remember(self, tools: list[Any]) -> None:
        """Write the listing to the catalog if it is another one, or was written long ago."""
        catalog = self._target.catalog
        assert catalog is not None
        entry = catalog.entry(self._target.server)
        is_same = entry is not None and list(entry.tools) == tools and not entry.is_outdated
        if entry is not None and is_same and time.time() - entry.fetched_at < _REFRESH_SECONDS:
            return
        catalog.record(
            self._target.server,
            tools,
            server_info=as_table(self._server.get("serverInfo")),
            instructions=self._server.get("instructions"),
            capabilities=as_table(self._server.get("capabilities")),
            protocol_version=self._version,
            open_seconds=self._open_seconds,
        )

    def _ask(
        self, method: str, params: Mapping[str, Any], until: float, on_progress: ProgressListener | None
    ) -> Mapping[str, Any]:
        """Make one request and return its result as it came.

        Raises:
            RequestError: The server answered with an error.
            JackfieldError: There was no answer.
        """
        self._next_id += 1
        self._asked = self._next_id
        meta: dict[str, Any] = {}
        if self._version in MODERN_VERSIONS:
            values = {"protocolVersion": self._version, "clientInfo": _INFO, "clientCapabilities": {}}
            meta = {f"{_PREFIX}{name}": value for name, value in values.items()}
        if on_progress is not None and method == "tools/call":
            meta["progressToken"] = self._asked
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": self._asked, "method": method}
        if params or meta:
            message["params"] = {**params, **({"_meta": meta} if meta else {})}
        stderr_before = self._stderr_bytes
        self._write(message, until, method)
        while True:
            answer = self._next_message(until, method, stderr_before)
            if answer.get("id") == self._asked and "method" not in answer:
                break
            self._answer_server(answer, on_progress, until)
        self._asked = None
        if isinstance(answer.get("error"), dict):
            # Why there is no handshake, or no listing, the library finds out.
            if not self._has_begun and method != "resources/read":
                raise NotDirectError
            raise self._refused(method, as_table(answer["error"]))
        if not isinstance(answer.get("result"), dict):
            raise self._unusual(method, "it has no result")
        return as_table(answer["result"])

    def _answer_server(self, message: Mapping[str, Any], on_progress: ProgressListener | None, until: float) -> None:
        """What is not the answer: progress, other notifications, or a request of the server's."""
        method, request_id, params = message.get("method"), message.get("id"), as_table(message.get("params"))
        if method == "notifications/progress" and on_progress is not None:
            done, total, words = params.get("progress"), params.get("total"), params.get("message")
            if isinstance(done, int | float) and isinstance(total, int | float | None):
                on_progress(done, total, words if isinstance(words, str) else None)
        elif isinstance(method, str) and isinstance(request_id, int | str):
            answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id}
            if method == "ping":
                answer["result"] = {}
            else:
                answer["error"] = {"code": -32601, "message": "Method not found"}
            self._write(answer, until, method)

    # The wire

    def _until(self, seconds: float) -> float:
        until = time.monotonic() + seconds
        return until if self._deadline is None else min(until, self._deadline)

    def _write(self, message: Mapping[str, Any], until: float, method: str) -> None:
        data = memoryview(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        while data:
            try:
                data = data[os.write(self._program.stdin, data) :]
            except BlockingIOError:
                self._pump(until, method, also_write=True)
            except OSError:
                raise self._lost(method, self._stderr_bytes) from None

    def _next_message(self, until: float, method: str, stderr_before: int) -> Mapping[str, Any]:
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                if message := _message(line):
                    return message
                if line.strip():
                    self._noise = [*self._noise[-19:], line]
                continue
            self._searched = len(self._buffer)
            if len(self._buffer) > MAX_MESSAGE_BYTES:
                raise self._too_long()
            if self._program.stdout not in self._open_pipes:
                raise self._lost(method, stderr_before)
            self._pump(until, method)

    def _pump(self, until: float, method: str, *, also_write: bool = False) -> None:
        """Wait for something to happen on the pipes, and read it."""
        self._interrupts.check()
        left = until - time.monotonic()
        if left <= 0:
            raise self._late(method)
        if self._program.exit_code is not None:
            # What it wrote before is here in a moment; a helper of it may hold the pipe open for ever.
            left, also_write = min(left, _LAST_WORDS_SECONDS), False
        exit_sign = self._program.descriptor
        watched = [*self._open_pipes, self._interrupts.readable]
        if exit_sign is None:
            left = min(left, _LAST_WORDS_SECONDS)
        elif self._program.exit_code is None:
            watched.append(exit_sign)
        was_over = self._program.exit_code is not None
        readable, _, _ = select.select(watched, [self._program.stdin] if also_write else [], [], left)
        self._interrupts.check()
        self._read(readable)
        if was_over and not readable:
            self._open_pipes.clear()

    def _read(self, readable: list[int]) -> None:
        for descriptor in self._open_pipes.intersection(readable):
            try:
                data = os.read(descriptor, _READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._open_pipes.discard(descriptor)
            elif descriptor == self._program.stdout:
                self._buffer += data
            else:
                self._stderr_bytes += len(data)
                self._stderr = (self._stderr + data)[-MAX_STDERR_BYTES:]

    # Errors, in the words of the library

    def _report(self) -> ConnectionReport:
        from ..config.launch import inherited_environment
        from ..masking import inherited_secrets, keep_secret
        from ..transport.report import ConnectionReport

        handed_on = inherited_environment(
            self._launch.command, self._launch.args, self._launch.environment, more=self._launch.inherit_environment
        )
        report = ConnectionReport(self._target.load_config())
        keep_secret(report, inherited_secrets(handed_on))
        self._told.append(report)  # for as long as it is there, they are masked
        report.stderr.add(bytes(self._stderr))
        for line in self._noise:
            report.add_noise(line)
        report.exit_code_now = lambda: self._program.exit_code
        return report

    def _refused(self, method: str, error: Mapping[str, Any]) -> RequestError:
        self._report()  # that the models know what is secret
        code, message = error.get("code"), error.get("message")
        number = code if isinstance(code, int) else 0
        return RequestError(
            f"Server {self._name!r} answered {method} with error {number}: {message}",
            rpc_code=number,
            rpc_message=str(message),
            rpc_data=error.get("data"),
            server_name=self._name,
            sent=True,
            hint="The server does not offer this." if number == -32601 else None,
        )

    def _late(self, method: str) -> JackfieldError:
        if method in ("initialize", "server/discover"):
            from ..transport.open_failures import open_timeout

            config = self._target.load_config()
            if self._deadline is not None:
                session = config.session.model_copy(update={"timeout": round(self._deadline - self._began, 4)})
                config = config.model_copy(update={"session": session})
            error = open_timeout(config, self._report())
            if self._target.catalog is not None:
                self._target.catalog.record_failure(self._target.server, error)
            return error
        seconds = CALL_SECONDS if self._deadline is None else round(time.monotonic() - self._began, 4)
        happened = "the server was told to cancel it" + ("" if method in _LISTED else ", but it may have taken effect")
        return SessionTimeoutError(
            f"Server {self._name!r} did not answer {method} within {seconds:g} s; {happened}.",
            server_name=self._name,
            seconds=seconds,
            sent=True,
            retryable=False,
            hint="Raise call_timeout for slow work.",
        )

    def _lost(self, method: str, stderr_before: int) -> JackfieldError:
        """The server has gone. Before it was asked anything, that is left to the library, which finds out why."""
        if not self._has_begun:
            raise NotDirectError
        until = time.monotonic() + _LAST_WORDS_SECONDS
        while (self._program.exit_code is None or self._open_pipes) and time.monotonic() < until:
            self._read(select.select(list(self._open_pipes), [], [], _POLL_SECONDS)[0])
        from ..session.task import loss

        report = self._report()
        # What it wrote before says nothing of why it has gone.
        since = stderr_before - (self._stderr_bytes - len(self._stderr))
        error = loss(self._target.load_config(), 1, report)
        quote = report.stderr_quote(max(since, 0))
        words = f"{error.message} The call was sent and may have taken effect."
        return error.told(message=words, sent=True, retryable=False, server_output=quote)

    def _too_long(self) -> JackfieldError:
        from ..transport.report import limit_error

        what = f"sent a message of more than {MAX_MESSAGE_BYTES:,} bytes"
        return limit_error(self._target.load_config(), "max_message_bytes", what)

    def _checked(self, method: str, result: Mapping[str, Any]) -> Result:
        """The result; one that is not as usual is looked at by the models, and repaired where that can be done."""
        if _is_usual(method, result):
            return _in_order(method, result)
        from mcp.types import methods
        from pydantic import ValidationError

        from ..transport.repairs import repaired

        try:
            parsed = methods.parse_server_result(method, self._version, repaired(method, self._version, dict(result)))
        except ValidationError as error:
            first = error.errors()[0]["msg"]
            raise self._bad_answer(method, f"{error.error_count()} problems, the first: {first}") from None
        if result.get("resultType", "complete") != "complete":
            raise self._bad_answer(method, "it asked for input, which a command cannot give")
        return json.loads(parsed.model_dump_json(by_alias=True, exclude_unset=True))

    def _unusual(self, method: str, problem: str) -> Exception:
        """What to raise for what is not as usual."""
        return self._bad_answer(method, problem) if self._has_begun else NotDirectError()

    def _bad_answer(self, method: str, problem: str) -> JackfieldError:
        from ..transport.bad_answers import bad_answer

        return bad_answer(self._target.load_config(), method, problem)

    # Ending

    def close(self) -> None:
        """Cancel what is under way, and end the program and all that it started.

        Source: MCP 2025-11-25, basic/lifecycle "Shutdown, stdio".
        """
        program, grace = self._program, CLOSE_SECONDS * 0.4
        self._interrupts.is_ignored = True
        try:
            if self._asked is not None:
                self._cancel(self._asked)
            program.close_stdin()
            self._wait(grace, lambda: program.exit_code is not None)
            for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, REAP_SECONDS)):
                if program.signal_tree(number):
                    self._wait(seconds, lambda: program.exit_code is not None and not program.survivors())
        finally:
            program.kill()
            program.free()

    def _cancel(self, request_id: int) -> None:
        params = {"requestId": request_id, "reason": "caller cancelled"}
        message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        with contextlib.suppress(OSError):  # it reads no more, or has gone
            os.write(self._program.stdin, json.dumps(message).encode() + b"\n")

    def _wait(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Wait, and read what the server still writes, lest it block on a full pipe. A second Ctrl-C ends the wait."""
        until, signals = time.monotonic() + seconds, len(self._interrupts.came)
        while not is_over() and time.monotonic() < until and len(self._interrupts.came) <= max(signals, 1):
            exited = [] if self._program.descriptor is None else [self._program.descriptor]
            watched = [*self._open_pipes, *(exited if self._program.exit_code is None else [])]
            self._read(select.select(watched, [], [], _POLL_SECONDS)[0])


def _message(line: bytes) -> Mapping[str, Any]:
    """The message of a line; empty if it has none."""
    try:
        return as_table(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def _is_usual(method: str, result: Mapping[str, Any]) -> bool:
    """Whether the models would take a result as it is."""
    if result.get("resultType", "complete") != "complete":
        return False
    if method == "resources/read":
        contents = result.get("contents")
        parts = [as_table(part) for part in as_list(contents)]
        return (
            isinstance(contents, list)
            and all(_has_texts(part, ("uri",)) for part in parts)
            and all(isinstance(part.get("text", part.get("blob")), str) for part in parts)
        )
    if method != "tools/call" or not isinstance(result.get("isError", False), bool):
        return False
    blocks = result.get("content")
    return (
        isinstance(blocks, list)
        and isinstance(result.get("structuredContent", {}), dict)
        and all(
            (needed := _BLOCKS.get(str(block.get("type")))) is not None and _has_texts(block, needed)
            for block in map(as_table, as_list(cast("object", blocks)))
        )
    )


def _in_order(method: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """A result with its keys in the order of the models, so that it looks the same whichever way it came."""
    key, order = ("contents", ("uri", "mimeType", "_meta", "text", "blob"))
    if method == "tools/call":
        key, order = ("content", ("type",))
    parts = [_ordered(part, order) for part in map(as_table, as_list(result.get(key)))]
    return {**_ordered(result, ("_meta", "ttlMs", "cacheScope", "content", "structuredContent", "isError")), key: parts}


def _ordered(table: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    return {**{name: table[name] for name in order if name in table}, **table}


def _has_texts(part: Mapping[str, Any], keys: Iterable[str]) -> bool:
    return all(isinstance(part.get(key), str) for key in keys)
