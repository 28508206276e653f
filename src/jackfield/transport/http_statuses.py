"""What each HTTP status proves about its request: one table, printed in docs/reliability.md.

A status may come from a proxy that stopped waiting while the server continued. So a
request counts as not executed only if the status is defined, for MCP, as one that precedes execution.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from ..errors import (
    AuthenticationError,
    JackfieldError,
    ServerUnavailableError,
    SessionConflictError,
    SessionExpiredError,
    SessionInvalidError,
)

Circumstance = Literal[
    "session id", "names the session", "in conflict", "challenge", "says not executed", "retry_on_503"
]
"""`session id`: the request carries one that the server gave. `names the session`: so do the words of the answer.
`in conflict`: the words of the answer to a POST are of a session or connection, or there are none. `challenge`: the
answer has a `WWW-Authenticate` header. `says not executed`: it is a JSON-RPC error with `{"executed": false}` in its
data. `retry_on_503`: the setting is on."""


@dataclass(frozen=True)
class StatusRule:
    """What one status, or a range of them, means."""

    statuses: range
    error: type[JackfieldError]
    source: str
    given: frozenset[Circumstance] = frozenset()
    """When the rule applies."""
    sent: bool | None = None
    """False: it precedes execution. None: unknown."""
    retryable: bool = False
    state_lost: bool = False

    @property
    def name(self) -> str:
        """The status as a person writes it."""
        return str(self.statuses[0]) if len(self.statuses) == 1 else f"{self.statuses[0] // 100}xx"


def _rule(
    status: int, error: type[JackfieldError], source: str, *given: Circumstance, all_of_them: bool = False, **what: bool
) -> StatusRule:
    statuses = range(status, status + (100 if all_of_them else 1))
    return StatusRule(statuses, error, source, frozenset(given), **what)


_BEFORE = {"sent": False}
_SESSIONS = "MCP 2025-11-25, transports, Session Management"
_AUTHORIZATION = "MCP 2025-11-25, authorization, Error Handling"
_NOT_IDEMPOTENT = "RFC 9110 9.2.2: no proof, and POST is not idempotent"

STATUS_RULES: tuple[StatusRule, ...] = (
    _rule(
        400,
        SessionInvalidError,
        _SESSIONS,
        "session id",
        "names the session",
        retryable=True,
        state_lost=True,
        **_BEFORE,
    ),
    _rule(401, AuthenticationError, f"RFC 9110 15.5.2; {_AUTHORIZATION}", "challenge", **_BEFORE),
    _rule(401, AuthenticationError, _NOT_IDEMPOTENT),
    _rule(403, AuthenticationError, f"RFC 6750 3.1; {_AUTHORIZATION}", "challenge", **_BEFORE),
    _rule(403, AuthenticationError, _NOT_IDEMPOTENT),
    _rule(404, SessionExpiredError, _SESSIONS, "session id", retryable=True, state_lost=True, **_BEFORE),
    _rule(
        409,
        SessionConflictError,
        "LibreChat's guide, Error Codes; RFC 9110 9.2.2: no proof",
        "session id",
        "in conflict",
        retryable=True,
        state_lost=True,
    ),
    _rule(409, SessionConflictError, _NOT_IDEMPOTENT, retryable=True),
    _rule(413, ServerUnavailableError, "RFC 9110 15.5.14", **_BEFORE),
    _rule(415, ServerUnavailableError, "RFC 9110 15.5.16", **_BEFORE),
    _rule(429, ServerUnavailableError, "RFC 6585 4", retryable=True, **_BEFORE),
    _rule(
        503,
        ServerUnavailableError,
        "stated by the server, as `jackfield.serving` does",
        "says not executed",
        retryable=True,
        **_BEFORE,
    ),
    _rule(503, ServerUnavailableError, "stated by the user for this server", "retry_on_503", retryable=True, **_BEFORE),
    _rule(300, ServerUnavailableError, _NOT_IDEMPOTENT, all_of_them=True),
    _rule(400, ServerUnavailableError, _NOT_IDEMPOTENT, all_of_them=True),
    _rule(500, ServerUnavailableError, _NOT_IDEMPOTENT, all_of_them=True, retryable=True),
)
"""The first that applies counts."""

_ANYTHING_ELSE = StatusRule(range(600, 1000), ServerUnavailableError, _NOT_IDEMPOTENT)


def status_rule(status: int, circumstances: Set[Circumstance] = frozenset()) -> StatusRule:
    """What a status proves.

    Args:
        status: Of an answer that is not an answer in the protocol's own terms to this very request.
        circumstances: Further facts.
    """
    applying = (rule for rule in STATUS_RULES if status in rule.statuses and rule.given <= circumstances)
    return next(applying, _ANYTHING_ELSE)
