"""Recovery of sessions: when one is opened again, the cool-down of servers that keep failing, and unreported losses.

What its users know of losses is `News` in `lifecycle`; which calls are made again, `calling` decides.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import (
    AuthenticationError,
    ConfigError,
    JackfieldError,
    ServerUnavailableError,
)
from .lifecycle import News

if TYPE_CHECKING:
    from ..config.servers import BaseServerConfig
    from ..config.settings import SessionConfig

_MAX_UNREPORTED = 10_000


def may_open_again(error: JackfieldError) -> bool:
    """Whether another attempt to open may well succeed."""
    return not isinstance(error, AuthenticationError | ConfigError)


def says_later(error: JackfieldError, within_seconds: float) -> bool:
    """Whether the server is there, and asks to come back soon."""
    return error.retry_after is not None and error.retry_after <= within_seconds


def wait_before_next(
    settings: SessionConfig,
    error: JackfieldError,
    failures: int,
    *,
    was_open: bool,
    is_lost: bool,
    is_asked_for: bool,
) -> float | None:
    """Seconds to wait before a session is reopened; `None`: not until a caller needs it.

    Args:
        settings: The server's settings.
        error: The failure of the last attempt, or the loss of the session.
        failures: Consecutive openings that failed, or were lost before any answer.
        was_open: Whether the session has ever been open. If not, it is only retried if the server
            asks for that.
        is_lost: Whether the last attempt succeeded, and the session was lost after that.
        is_asked_for: Whether the user requested a new connection, which is opened even with `retry_attempts=0`.
    """
    if not was_open and not says_later(error, settings.timeout):
        return None
    if is_lost and failures <= 1 and (settings.retry_attempts or is_asked_for):
        return 0.0
    is_soon = (error.retry_after or 0.0) <= settings.max_retry_delay
    if may_open_again(error) and failures < settings.retry_attempts and is_soon:
        return settings.wait_before(failures + 1, error.retry_after)
    return None


@dataclass(frozen=True)
class CoolDown:
    """A server that failed to open several times in a row for one key, and is not tried for a while."""

    server_name: str
    key: str | None
    failures: int
    until: float
    """When it is tried again at the earliest, in seconds since the epoch."""
    reason: str
    """Of the last failure."""


class CircuitBreaker:
    """Counts the failed openings of one (server, key) since the last successful one.

    Closed, it allows all openings. After `failure_threshold` failures it is open, and callers fail immediately;
    after the cool-down, one opening is allowed as a trial.
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

    def cool_down(self, key: str | None) -> CoolDown | None:
        """That of the server, if it is in one.

        Args:
            key: Whose sessions these are.
        """
        seconds = self._open_until - time.monotonic()
        if self._last is None or self._failures < self._settings.failure_threshold or seconds <= 0:
            return None
        return CoolDown(self._server_name, key, self._failures, time.time() + seconds, self._last.message)

    def enter(self) -> None:
        """Ask to open; `succeeded`, `failed` or `left` must follow.

        Raises:
            ServerUnavailableError: The server is in cool-down; says for how long, and the last reason.
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
            f"Server {self._server_name!r} could not be opened {self._failures} times in a row and is in "
            f"cool-down; next attempt in {wait:.1f} s. The last failure: {last.message}",
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
            # Commands of kept sessions need this module, and must not wait for pydantic.
            from ..config.settings import backoff

            wait = backoff(self._settings.retry_delay, self._settings.max_retry_delay, over + 3)
            self._open_until = time.monotonic() + max(wait, error.retry_after or 0.0)

    def left(self) -> None:
        """The opening was given up before it came to anything."""
        self._trying = False


class Circuits(dict[tuple[str, str | None], CircuitBreaker]):
    """The circuit breakers of servers and keys: each is made at a failure, and dropped once it remembers nothing."""

    def enter(self, config: BaseServerConfig, key: str | None) -> None:
        """Ask to open; `succeeded`, `failed` or `left` must follow.

        Raises:
            ServerUnavailableError: The server is in cool-down; says for how long, and the last reason.
        """
        if (circuit := self.get((config.server_name, key))) is not None:
            circuit.enter()

    def failed(self, config: BaseServerConfig, key: str | None, error: JackfieldError) -> None:
        """It did not open."""
        self.setdefault((config.server_name, key), CircuitBreaker(config.server_name, config.session)).failed(error)

    def succeeded(self, config: BaseServerConfig, key: str | None) -> None:
        """It opened."""
        if (circuit := self.get((config.server_name, key))) is not None:
            circuit.succeeded()
            self._drop(config.server_name, key)

    def left(self, config: BaseServerConfig, key: str | None) -> None:
        """The opening was given up before it came to anything."""
        if (circuit := self.get((config.server_name, key))) is not None:
            circuit.left()
            self._drop(config.server_name, key)

    def _drop(self, server_name: str, key: str | None) -> None:
        if self[server_name, key].is_at_rest:
            del self[server_name, key]

    def cool_downs(self) -> list[CoolDown]:
        """The servers that are not tried for a while."""
        found = [circuit.cool_down(key) for (_, key), circuit in self.items()]
        return [one for one in found if one is not None]


class UnreportedLosses(OrderedDict[tuple[str, str], tuple[int, int]]):
    """Closed named sessions whose next user must learn of lost state; the newest 10,000.

    For each server and key, the last generation, and the one that its users know of.
    """

    def keep(self, slot_key: tuple[str, str], generation: int, news: News) -> None:
        """Remember a session that is closed.

        Args:
            slot_key: Its server and key.
            generation: Its last one.
            news: What its users know.
        """
        self[slot_key] = generation, news.known
        if len(self) > _MAX_UNREPORTED:
            self.popitem(last=False)

    def take(self, slot_key: tuple[str, str] | None) -> tuple[int, News]:
        """How often the session of a server and key was opened before, and what its next user knows of that."""
        generation, known = self.pop(slot_key, (0, 1)) if slot_key else (0, 1)
        return generation, News(known)
