"""Facts about a connection other than its messages, for errors, `SessionInfo` and recovery."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from mcp.shared.message import SessionMessage

from ..config.servers import BaseServerConfig
from ..errors import AuthenticationError, JackfieldError, RequestError, ServerLimitError, ToolError
from ..logs import SessionLog
from ..masking import mask
from .records import CallRecord, Requests
from .scanning import MessageScanner

_NOISE_LINES = 20
# The output of a process that exits ends a little before its exit code is known, and on a busy machine a lot before.
_EXIT_SECONDS = 1.0
_STDERR_SECONDS = 0.03
_NOISE_CHARS = 500
_QUOTED_BYTES = 1000


class OutputTail:
    """The last bytes a child wrote, bounded however much it writes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self.total_bytes: int = 0

    def add(self, data: bytes) -> None:
        """Append, forgetting the oldest beyond the limit."""
        self.total_bytes += len(data)
        self._chunks.append(data[-self._limit :])
        self._held += len(self._chunks[-1])
        while self._held - len(self._chunks[0]) >= self._limit:
            self._held -= len(self._chunks.popleft())

    def text(self, since: int = 0) -> str:
        """The kept text, without secrets.

        Args:
            since: Skip this many bytes from the beginning.
        """
        kept = b"".join(self._chunks)[-self._limit :]
        kept = kept[max(since - (self.total_bytes - len(kept)), 0) :]
        return mask(kept.decode("utf-8", "replace"), is_cut=True)


class ConnectionReport:
    """Filled by a transport, read by the session above it.

    Args:
        config: The server, for its limits and its name in errors.
        log: Of the session; one of no session if omitted.
        on_renewed: Called with `resumed` when a stream broke and was opened again.
        on_limit: Called when the server goes beyond a limit.
    """

    def __init__(
        self,
        config: BaseServerConfig,
        log: SessionLog | None = None,
        on_renewed: Callable[[bool], None] = lambda _: None,
        on_limit: Callable[[ServerLimitError], None] = lambda _: None,
    ) -> None:
        self.config = config
        self.log: SessionLog = log or SessionLog(config.server_name)
        self.on_renewed = on_renewed
        self.on_limit = on_limit
        self.process_id: int | None = None
        self.exit_code: int | None = None
        self.exit_code_now: Callable[[], int | None] = lambda: self.exit_code
        """How a child has ended, if it has."""
        self.exited: anyio.Event = anyio.Event()
        """Set once a child has exited."""
        self.unread_bytes = 0
        """Number of sent bytes that a child had not read when it ended."""
        self.left_behind = 0
        """How many processes a server that had left still had running; they were ended."""
        self.stderr: OutputTail = OutputTail(config.session.max_stderr_bytes)
        self.requests: Requests = Requests(lambda: self.stderr.total_bytes)
        self.stderr_ended: anyio.Event = anyio.Event()
        """Set once a child wrote the last of it."""
        self.noise: deque[str] = deque(maxlen=_NOISE_LINES)
        """Lines on stdout that are not MCP messages."""
        self.introduction: Mapping[str, Any] = {}
        """What the server said of itself at the handshake, as it came."""
        self.http_session_id: str | None = None
        self.is_ended_at_server: bool = False
        """Whether an HTTP server was told that the session is over."""
        self.failure: JackfieldError | None = None
        """The last thing that went wrong on the wire."""
        self.first_failure: JackfieldError | None = None
        self.advice = ""
        """What may help if it cannot be opened."""
        self.lost: anyio.Event = anyio.Event()
        self.loss: JackfieldError | None = None
        """Why the session has ended, if a transport knows."""
        self.limit_reached: ServerLimitError | None = None
        self.give_up_opening: Callable[[], object] = lambda: None
        """Called by a transport on whose wire an opening that failed would otherwise wait for its timeout."""
        self._notifications = 0
        self._second = 0

    def begin_again(self) -> None:
        """Forget a connection that is replaced by another one."""
        give_up_opening = self.give_up_opening
        self.__init__(self.config, self.log, self.on_renewed, self.on_limit)
        self.give_up_opening = give_up_opening

    def add_noise(self, line: bytes) -> None:
        """Store a shortened line that is not a message."""
        self.noise.append(mask(line[:_NOISE_CHARS].decode("utf-8", "replace"), is_cut=True))

    async def last_words(self) -> None:
        """Wait a moment for how a child whose output ended exited, and for what it wrote last: the best of reasons."""
        if self.process_id is None or self.lost.is_set():
            return
        with anyio.move_on_after(_EXIT_SECONDS):
            await self.exited.wait()
        with anyio.move_on_after(_STDERR_SECONDS):
            await self.stderr_ended.wait()

    def stderr_quote(self, since: int = 0) -> str | None:
        """The end of the server's stderr, with a note if more was written than is kept.

        Args:
            since: Where the part of it begins that may explain what is to be explained; see `CallRecord.stderr_bytes`.
        """
        text, written = self.stderr.text(since), self.stderr.total_bytes - since
        kept = self.config.session.max_stderr_bytes
        if written > kept:
            text = f"{text} | (the end of {written:,} bytes; max_stderr_bytes={kept:,})"
        return text or None

    def mark_lost(self, why: JackfieldError | None = None) -> None:
        """No further message will come."""
        self.loss = self.loss or why
        self.lost.set()

    def admits_notification(self) -> bool:
        """Count a notification; whether it is within `max_notifications` a second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._notifications = second, 0
        self._notifications += 1
        limit = self.config.session.max_notifications
        if self._notifications == limit + 1:
            self.reach_limit("max_notifications", f"sends more than {limit} notifications a second")
        return self._notifications <= limit

    def note_failure(self, failure: JackfieldError | None) -> None:
        """Keep what went wrong last, and what went wrong first: trying for an older protocol hides that."""
        self.failure = failure
        if failure is not None and (failure.retryable or isinstance(failure, AuthenticationError)):
            self.first_failure = self.first_failure or failure

    def reach_limit(self, limit: str, what: str) -> ServerLimitError:
        """Note that the server went beyond a limit."""
        self.limit_reached = limit_error(self.config, limit, what)
        self.on_limit(self.limit_reached)
        return self.limit_reached

    def limit_exceeded(self, total_bytes: int | None) -> ServerLimitError:
        """Note a message beyond `max_message_bytes`; returns the error of the call that it was meant for."""
        # The event's error is one, each call's is its own.
        return self.reach_limit("max_message_bytes", f"sent a message {self._size(total_bytes)}").told()

    def _size(self, total_bytes: int | None) -> str:
        limit = self.config.session.max_message_bytes
        return f"of {total_bytes:,} bytes" if total_bytes else f"of more than {limit:,} bytes"

    def too_long(
        self, message: MessageScanner, total_bytes: int | None = None, record: CallRecord | None = None
    ) -> SessionMessage | None:
        """Record a message beyond `max_message_bytes`.

        Args:
            message: The part that was read.
            total_bytes: Its length, if known.
            record: The only request that it can be the answer to; if omitted, its id tells.

        Returns:
            Its replacement; `None` if it answers no waiting request.
        """
        error = self.limit_exceeded(total_bytes)
        if (record := self._answered_by(message, f"an answer {self._size(total_bytes)}", record)) is None:
            return None
        return self.requests.fail(record, error)

    def unreadable(self, message: bytes | bytearray, record: CallRecord | None = None) -> SessionMessage | None:
        """Take note of a message that no parser accepts. Arguments and result as of `too_long`."""
        record = self._answered_by(MessageScanner(message), "an answer that cannot be read", record)
        return None if record is None else self.unreadable_answer(message, record)

    def unreadable_answer(self, message: bytes | bytearray, record: CallRecord) -> SessionMessage:
        """Give up a request whose answer no parser accepts; returns what to deliver in its place."""
        problem = "the answer is not a valid message"
        quoted = mask(bytes(message[:_QUOTED_BYTES]).decode("utf-8", "replace"), is_cut=True) or None
        failure = bad_answer(self.config, record.method, problem, server_output=quoted)
        return self.requests.fail(record, failure, problem)

    def _answered_by(self, message: MessageScanner, what: str, record: CallRecord | None) -> CallRecord | None:
        """The request that a message answers. Unclaimed answers are recorded."""
        if "method" in message.members or not message.is_object:
            return None
        if record is None and message.members:
            record = self.requests.waiting(message.request_id)
            if record is None:
                self.requests.unclaimed(message.request_id, what)
        return record


def limit_error(config: BaseServerConfig, limit: str, what: str) -> ServerLimitError:
    """The error for going beyond a limit of the configuration."""
    name = config.server_name
    return ServerLimitError(
        f"Server {name!r} {what}: beyond the limit {limit}={getattr(config.session, limit):,}.",
        limit=limit,
        server_name=name,
        sent=True,
        hint=f"If that is as it should be, raise {limit} in the session settings of its config.",
    )


def bad_answer(
    config: BaseServerConfig, method: str, problem: str, *, server_output: str | None = None
) -> ToolError | RequestError:
    """The error for an answer that cannot be used."""
    kind = ToolError if method == "tools/call" else RequestError
    return kind(
        f"Server {config.server_name!r} answered {method} with what the protocol does not allow: {problem}",
        server_name=config.server_name,
        sent=True,
        server_output=server_output,
        hint="The request was carried out; report this to the server's author.",
    )
