"""`OtherInstances`: what a gateway asks of the others that share its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..config.servers import BaseServerConfig
from ..transport.shared_session import SharedSession
from .client import Client
from .forwarding import ElsewhereError, Marks
from .messages import Answer, Context


@dataclass(frozen=True)
class InstanceFigures:
    """What one of the instances has, and did since it was started."""

    clients: int = 0
    """Clients' sessions that it has heard of."""
    sessions: int = 0
    """With servers."""
    live: int = 0
    """Running calls."""
    calls: int = 0
    errors: int = 0
    """Completed calls without a result, or with a tool's own error."""


@dataclass(frozen=True)
class Member:
    """One of the instances."""

    name: str
    url: str | None
    """Where the others reach it, as far as that is known."""
    is_here: bool
    owns: Mapping[str, int]
    """How many sessions with each server it owns, as far as this one knows."""
    figures: InstanceFigures | None = None
    """What it said last; `None` before that."""


class AcrossInstances(Protocol):
    """What clients have set holds at all instances."""

    async def tell(
        self, client: Client, method: str, params: Mapping[str, Any] | None, servers: Sequence[str] | None = None
    ) -> None:
        """Have the others do what a client asked for; for some servers, or all."""
        ...

    async def unsubscribe(self, client: Client, uri: str) -> None:
        """Hear no more of a resource, if this instance does."""
        ...

    async def claim(self, client: Client, config: BaseServerConfig, uri: str) -> bool:
        """Be the instance that hears of a resource for a client; `False` if another one does."""
        ...

    async def drop(self, client: Client, uri: str) -> None:
        """No instance is to hear of a resource any more."""
        ...

    async def lost(self, client: Client) -> Sequence[str]:
        """The URIs of which an instance heard for a client that is gone, at servers over HTTP."""
        ...

    async def subscribed(self, client: Client, server_name: str) -> Sequence[str]:
        """The URIs that a client has subscribed to at a server, by whichever instance."""
        ...


class OtherInstances(Marks, Protocol):
    """The other instances."""

    @property
    def name(self) -> str:
        """Of this one: 16 hexadecimal digits."""
        ...

    @property
    def across(self) -> AcrossInstances:
        """What clients have set, at all instances."""
        ...

    def members(self) -> list[Member]:
        """All instances that this one knows of, itself first."""
        ...

    async def require_here(self, context: Context, client: Client, config: BaseServerConfig) -> None:
        """Own a client's session with a server, if it lives in one place.

        Raises:
            ElsewhereError: Another instance owns it.
            StoreUnavailableError: The store cannot be reached.
        """
        ...

    def is_forwarded(self, context: Context) -> bool:
        """Whether a request was forwarded by another instance."""
        ...

    async def owners(self, client: Client, server_names: Sequence[str]) -> Mapping[str, str]:
        """The other instances that own a client's session with one of these servers, each with one that it owns.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        ...

    def take_loss(self, client: Client, config: BaseServerConfig) -> bool:
        """Whether the state of a client's session with a server was lost with another instance."""
        ...

    def shared_session(self, client: Client, config: BaseServerConfig) -> SharedSession | None:
        """A client's session with a server, if every instance uses the same one."""
        ...

    async def note_view(self, session_id: str, view_name: str) -> None:
        """A session's client was given a listing of this view.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        ...

    async def view_of(self, session_id: str) -> str | None:
        """The view that was noted for a session last, on any instance.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        ...

    def ended(self, session_id: str, server_names: Sequence[str]) -> None:
        """A client's session has ended, and with it those with some servers, which are ended from here."""
        ...

    async def answer(self, context: Context, elsewhere: ElsewhereError) -> Answer | None:
        """The answer of the instance that has what a request needs; `None` if this one has it now.

        Raises:
            JackfieldError: That instance ended before it answered, or cannot be reached.
            MCPError: The request failed.
        """
        ...
