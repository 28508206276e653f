"""What only passes through: a request's parameters, its progress and its answer, as they are on the wire.

The SDK checks each answer against the protocol's schema and keeps only what it knows. A request that is relayed is
taken past that, between the SDK and the transport: the SDK gets an empty answer that satisfies it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from mcp.types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    LOG_LEVEL_META_KEY,
    JSONRPCRequest,
    JSONRPCResponse,
)

from ..plain import as_table
from .shared_session import SharedSession

ENVELOPE_KEYS = (CLIENT_INFO_META_KEY, CLIENT_CAPABILITIES_META_KEY, LOG_LEVEL_META_KEY)
"""What the SDK puts into the `_meta` of each request for the client that it takes itself to be."""

_ENVELOPE = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
_EMPTY: Mapping[str, Mapping[str, Any]] = {
    "tools/list": {"tools": []},
    "tools/call": {"content": []},
    "resources/list": {"resources": []},
    "resources/templates/list": {"resourceTemplates": []},
    "resources/read": {"contents": []},
    "prompts/list": {"prompts": []},
    "prompts/get": {"messages": []},
    "completion/complete": {"completion": {"values": []}},
}


Entries = Sequence[Mapping[str, Any]]
"""Of a listing."""

Listed = Literal["tools", "prompts", "resources", "templates"]
"""What a server can list; the catalog's `Kind`."""

ReportProgress = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Takes the parameters of a progress notification, without its token."""


class RelayedClient(Protocol):
    """The client that a session is relayed for: its server sees its capabilities, and reaches it."""

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """Told to the server as they are."""
        ...

    @property
    def protocol_version(self) -> str:
        """That it speaks. A server with `protocol="auto"` that speaks an older one, too, is spoken to in that one: what
        it asks then needs no translation."""
        ...

    @property
    def log_level(self) -> str | None:
        """Of the log messages that a server of the older protocol is asked for when the session opens, if any."""
        ...

    @property
    def shared_session(self) -> SharedSession | None:
        """The session with a server over HTTP, if other processes use the same one for this client."""
        ...

    async def ask(
        self, method: str, params: Mapping[str, Any] | None, about: object, report: ReportProgress | None
    ) -> dict[str, Any]:
        """Answer a request of the server. It is cancelled when the server gives the request up.

        Args:
            method: Of the request.
            params: Of the request.
            about: What `relay` was given for the request that this one is about; `None` if that is not known.
            report: Takes progress, if the server wants to hear of it.

        Raises:
            MCPError: The answer is an error.
        """
        ...

    def takes_listing(self, kind: Listed, entries: Entries, known: Entries | None, generation: int) -> bool:
        """Whether what the server lists after a change counts for this client alone.

        Args:
            kind: Of what.
            entries: As it lists them now, on the wire.
            known: As it listed them before, for everybody.
            generation: Of the session.
        """
        ...

    def tell(self, method: str, params: Mapping[str, Any] | None, about: object) -> None:
        """Take a notification of the server, other than progress. Called in the order in which all comes, and before a
        request that it is about has its answer."""
        ...


@dataclass(eq=False)
class RelayedRequest:
    """One request that is relayed."""

    about: object = None
    """What `relay` was given for it."""

    envelope: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What its `_meta` says of the client that it comes from, where a request says that."""

    on_progress: Callable[[Mapping[str, Any]], None] | None = None
    """Called with the parameters of each progress notification, in order and before there is an answer."""

    on_told: Callable[[str, Mapping[str, Any]], None] | None = None
    """Called with the method and the parameters of each notification on the stream of changes that it opens."""

    answer: dict[str, Any] | None = None
    """The result as it came."""

    def leaves(self, message: JSONRPCRequest) -> None:
        """The SDK hands its message to the transport."""
        meta = {**as_table((message.params or {}).get("_meta")), **self.envelope}
        if self.on_progress is not None:
            meta["progressToken"] = message.id
        if meta:
            message.params = {**(message.params or {}), "_meta": meta}

    def arrives(self, method: str, message: JSONRPCResponse) -> None:
        """The transport hands its answer to the SDK."""
        self.answer, message.result = message.result, {**_ENVELOPE, **_EMPTY.get(method, {})}
