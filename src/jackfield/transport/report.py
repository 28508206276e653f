"""What is known of a connection beside its messages: for errors, for `SessionInfo`, for recovery."""

from __future__ import annotations

import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError

from ..config.servers import BaseServerConfig
from ..errors import AuthenticationError, JackfieldError, ServerLimitError

_NOISE_LINES = 20
_REMEMBERED_IDS = 1024
_STDERR_SECONDS = 0.03
_NOISE_CHARS = 500

LIMIT_CODE = -32098
"""The JSON-RPC code of an answer that stands here for one that was too long. Never sent."""

UNREADABLE_CODE = -32097
"""The JSON-RPC code of an answer that stands here for one that could not be read. Never sent."""

# SDKs write the id before the result; where one does not, it stands at the very end.
_ID = re.compile(rb'"id"\s*:\s*(\d{1,18}|"[^"\\]{0,100}")')
_ID_WITHIN_BYTES = 512


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

    def text(self) -> str:
        """What is kept, as text."""
        return b"".join(self._chunks)[-self._limit :].decode("utf-8", "replace")


class EventIds:
    """The last event ids of a stream, so that what is sent twice is taken once."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def is_new(self, event_id: str) -> bool:
        """Note an id; whether it was not there."""
        if event_id in self._ids:
            return False
        self._ids[event_id] = None
        if len(self._ids) > _REMEMBERED_IDS:
            self._ids.popitem(last=False)
        return True

    def __bool__(self) -> bool:
        return bool(self._ids)


@dataclass
class CallRecord:
    """What became of one request on the wire. Set in `current_call` by the task that makes the call."""

    method: str
    generation: int = 0
    """Of the session it was sent in."""

    sent: bool | None = False
    """False until its first byte left, True once the last has, None between."""

    failure: JackfieldError | None = None
    """Why the transport knows that no answer will come."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Cancelled by a transport on whose wire a failed request would otherwise wait for its timeout."""

    seen_ids: EventIds | None = None
    """Of the stream that brings its answer, if it is one."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Sent with this request where it goes over HTTP."""


current_call: ContextVar[CallRecord | None] = ContextVar("jackfield_current_call", default=None)


class ConnectionReport:
    """Filled by a transport, read by the session above it.

    Args:
        config: The server, for its limits and its name in errors.
        on_renewed: Called with `resumed` when a stream broke and was opened again.
        on_limit: Called when the server goes beyond a limit.
    """

    def __init__(
        self,
        config: BaseServerConfig,
        on_renewed: Callable[[bool], None] = lambda _: None,
        on_limit: Callable[[ServerLimitError], None] = lambda _: None,
    ) -> None:
        self.config = config
        self.on_renewed = on_renewed
        self.on_limit = on_limit
        self.process_id: int | None = None
        self.exit_code: int | None = None
        self.left_behind = 0
        """How many processes a server that had left still had running; they were ended."""
        self.stderr: OutputTail = OutputTail(config.session.max_stderr_bytes)
        self.stderr_ended: anyio.Event = anyio.Event()
        """Set once a child wrote the last of it."""
        self.noise: deque[str] = deque(maxlen=_NOISE_LINES)
        """Lines on stdout that are no MCP messages."""
        self.http_session_id: str | None = None
        self.failure: JackfieldError | None = None
        """The last thing that went wrong on the wire."""
        self.first_failure: JackfieldError | None = None
        self.lost: anyio.Event = anyio.Event()
        self.loss: JackfieldError | None = None
        """Why the session is over, where a transport knows."""
        self.limit_reached: ServerLimitError | None = None
        self.give_up_opening: Callable[[], object] = lambda: None
        """Called by a transport on whose wire an opening that failed would otherwise wait for its timeout."""
        self._notifications = 0
        self._second = 0

    def add_noise(self, line: bytes) -> None:
        """Keep a line that is no message, shortened."""
        self.noise.append(line[:_NOISE_CHARS].decode("utf-8", "replace"))

    async def last_words(self) -> None:
        """Wait a moment for what a child that died wrote last: the best of reasons, and as a rule there already."""
        if self.process_id is not None:
            with anyio.move_on_after(_STDERR_SECONDS):
                await self.stderr_ended.wait()

    def stderr_quote(self) -> str | None:
        """The end of what the server wrote to stderr, saying so where that was more than is kept."""
        text = self.stderr.text()
        kept = self.config.session.max_stderr_bytes
        if self.stderr.total_bytes > kept:
            text = f"{text} | (the end of {self.stderr.total_bytes:,} bytes; max_stderr_bytes={kept:,})"
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

    def too_long(self, message: bytes | bytearray, total_bytes: int | None = None) -> SessionMessage | None:
        """Stands for a message beyond `max_message_bytes`: an error for whom it was meant for, or `None`."""
        limit = self.config.session.max_message_bytes
        size = f"of {total_bytes:,} bytes" if total_bytes else f"of more than {limit:,} bytes"
        error = self.reach_limit("max_message_bytes", f"sent a message {size}")
        answer = failed_answer(message, LIMIT_CODE, error.message)
        if answer is None and b'"method"' not in message[:_ID_WITHIN_BYTES]:
            # Somebody waits for it, and nobody can say who.
            self.mark_lost(error)
        return answer


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


def failed_answer(message: bytes | bytearray, code: int, text: str) -> SessionMessage | None:
    """An error in the place of an answer that cannot be delivered; `None` where it is no answer, or has no id."""
    head, tail = bytes(message[:_ID_WITHIN_BYTES]), bytes(message[-_ID_WITHIN_BYTES:])
    if b'"method"' in head.partition(b'"result"')[0]:
        return None
    found = _ID.search(head) or _ID.search(tail)
    if found is None:
        return None
    value = found[1].decode()
    request_id = value[1:-1] if value.startswith('"') else int(value)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=text)))
