"""What is known of a connection beside its messages: for errors, for `SessionInfo`, for recovery."""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field

import anyio

from ..errors import JackfieldError

STDERR_TAIL_BYTES = 65536
_NOISE_LINES = 20
_NOISE_CHARS = 500


class OutputTail:
    """The last bytes a child wrote, bounded however much it writes."""

    def __init__(self, limit_bytes: int = STDERR_TAIL_BYTES) -> None:
        self._limit = limit_bytes
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self.total_bytes = 0

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


@dataclass
class CallRecord:
    """What became of one request on the wire. Set in `current_call` by the task that makes the call."""

    method: str
    sent: bool | None = False
    """False until its first byte left, True once the last has, None between."""

    failure: JackfieldError | None = None
    """Why the transport knows that no answer will come."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Cancelled by a transport on whose wire a failed request would otherwise wait for its timeout."""


current_call: ContextVar[CallRecord | None] = ContextVar("jackfield_current_call", default=None)


class ConnectionReport:
    """Filled by a transport, read by the session above it."""

    def __init__(self) -> None:
        self.process_id: int | None = None
        self.exit_code: int | None = None
        self.stderr = OutputTail()
        self.noise: deque[str] = deque(maxlen=_NOISE_LINES)
        """Lines on stdout that are no MCP messages."""
        self.http_session_id: str | None = None
        self.failure: JackfieldError | None = None
        """The last thing that went wrong on the wire."""
        self.lost = anyio.Event()

    def add_noise(self, line: bytes) -> None:
        """Keep a line that is no message, shortened."""
        self.noise.append(line[:_NOISE_CHARS].decode("utf-8", "replace"))

    def mark_lost(self) -> None:
        """No further message will come."""
        self.lost.set()
