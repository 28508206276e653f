"""`CircuitBreaker`: leaves a server alone for a while that could not be opened several times in a row."""

from __future__ import annotations

import time

from ..config.settings import SessionConfig
from ..errors import JackfieldError, ServerUnavailableError


class CircuitBreaker:
    """Counts the openings of one (server, key) that failed since the last that did not.

    Closed, it lets all through. After `failure_threshold` failures it is open, and callers fail at once;
    when its time is over, one opening is let through as a trial.
    """

    def __init__(self, server_name: str, settings: SessionConfig) -> None:
        self._server_name = server_name
        self._settings = settings
        self._failures = 0
        self._last: JackfieldError | None = None
        self._open_until = 0.0
        self._trying = False

    @property
    def is_at_rest(self) -> bool:
        """Whether it remembers nothing."""
        return self._failures == 0 and not self._trying

    def enter(self) -> None:
        """Ask to open; `succeeded`, `failed` or `left` must follow.

        Raises:
            ServerUnavailableError: The server is left alone for now; says for how long, and the last reason.
        """
        last = self._last
        if last is None or self._failures < self._settings.failure_threshold:
            return
        wait = self._open_until - time.monotonic()
        if wait <= 0 and not self._trying:
            self._trying = True
            return
        wait = max(wait, 0.1)
        raise ServerUnavailableError(
            f"Server {self._server_name!r} could not be opened {self._failures} times in a row and is left alone "
            f"for now; next try in {wait:.1f} s. The last reason: {last.message}",
            server_name=self._server_name,
            sent=False,
            retryable=True,
            retry_after=wait,
            server_output=last.server_output,
            hint=last.hint,
        )

    def succeeded(self) -> None:
        """It opened."""
        self._failures = 0
        self._trying = False
        self._last = None

    def failed(self, error: JackfieldError) -> None:
        """It did not."""
        self._failures += 1
        self._trying = False
        self._last = error
        over = self._failures - self._settings.failure_threshold
        if over >= 0:
            wait = min(self._settings.max_retry_delay, self._settings.retry_delay * 2 ** min(over + 3, 30))
            self._open_until = time.monotonic() + max(wait, error.retry_after or 0.0)

    def left(self) -> None:
        """The opening was given up before it came to anything."""
        self._trying = False
