"""The stored data of a session, so that every instance can serve it. It contains no token."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Any, cast

from .errors import StoredDataError

RECORD_VERSION = 1
"""Incremented when an older Jackfield cannot read the data of a newer one."""

RECORD_SCOPE = "jackfield.record"
"""Under this key the ASGI scope of a request has the record of its session."""


@dataclass(frozen=True)
class Principal:
    """Whom a session belongs to. Parts that the token does not name are `None`; two are the same if all parts are.

    Source: MCP 2025-11-25, security best practices, "Session Hijacking".
    """

    issuer: str | None = None
    subject: str | None = None
    client: str | None = None

    def digest(self) -> str:
        """The same for equal principals only, and short: for keys, indexes and comparisons in a store."""
        return hashlib.sha256(json.dumps([self.issuer, self.subject, self.client]).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class SessionRecord:
    """The metadata of one session.

    Args:
        session_id: 128 random bits in hexadecimal digits.
        initialize: The client's `initialize` parameters: its capabilities, name and version.
        protocol_version: The negotiated protocol version.
        principal: Its owner; `None` if the server does not authenticate.
        created_at: Seconds since the epoch.
        log_level: The level set by `logging/setLevel`; `None` before that.
    """

    session_id: str
    initialize: Mapping[str, Any]
    protocol_version: str
    principal: Principal | None = None
    created_at: float = field(default_factory=time.time)
    log_level: str | None = None

    @property
    def client_info(self) -> Mapping[str, Any]:
        """The client's name and version, as it gave them."""
        info = self.initialize.get("clientInfo")
        return cast("Mapping[str, Any]", info) if isinstance(info, Mapping) else {}

    @property
    def client_capabilities(self) -> Mapping[str, Any]:
        """What the client said that it can do."""
        capabilities = self.initialize.get("capabilities")
        return cast("Mapping[str, Any]", capabilities) if isinstance(capabilities, Mapping) else {}

    def to_json(self) -> str:
        """As text for a store."""
        return self._json

    @cached_property
    def _json(self) -> str:
        return json.dumps({"v": RECORD_VERSION, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> SessionRecord:
        """Parse the text of `to_json`, from this or an older version.

        Raises:
            StoredDataError: The text is not a record, or is from a newer version of Jackfield.
        """
        try:
            read = json.loads(text)
            version = read.pop("v")
            if not isinstance(version, int) or version > RECORD_VERSION:
                raise StoredDataError(
                    f"A stored session has version {version!r}; this Jackfield reads {RECORD_VERSION}."
                )
            principal = read.pop("principal")
            record = cls(**read, principal=None if principal is None else Principal(**principal))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StoredDataError("The value stored under a session's key is not a session.") from error
        given: tuple[object, ...] = (record.session_id, record.protocol_version, record.initialize)
        if [type(one) for one in given] != [str, str, dict]:
            raise StoredDataError("The value stored under a session's key is not a session.")
        return record


_read_before = lru_cache(256)(SessionRecord.from_json)
_LONGEST_KEPT = 4096


def read_record(text: str) -> SessionRecord:
    """As `SessionRecord.from_json`, but for texts that were read before: sessions that are used are used again."""
    return _read_before(text) if len(text) <= _LONGEST_KEPT else SessionRecord.from_json(text)


@dataclass(frozen=True)
class RunningCall:
    """A request that an instance is running.

    Args:
        request_id: The client's id of it, as JSON text: `1` and `"1"` differ.
        instance: Which instance runs it.
        stream: The stream that its answer goes to; unique to this run of it.
    """

    request_id: str
    instance: str
    stream: str


@dataclass(frozen=True)
class StreamEvent:
    """One message in the log of a stream.

    Args:
        number: 1 for the first of the log; each is one more than the one before.
        message: A JSON-RPC message as JSON text; empty for the event with which a stream begins.
        is_final: Whether it answers the request, so that nothing follows.
    """

    number: int
    message: str
    is_final: bool = False
