"""What a request needs may be with another instance of the gateway, which then answers it."""

from __future__ import annotations

from typing import Protocol

from ..config.servers import BaseServerConfig
from ..transport.taken_up import SharedSession
from .client import Client
from .messages import Answer, Context


class ElsewhereError(Exception):
    """What a request needs is with another instance.

    Args:
        instance: Which has it.
        server_name: Whose session it is; `None` if it is a call or a session that has a name of its own.
    """

    def __init__(self, instance: str, server_name: str | None) -> None:
        super().__init__(instance)
        self.instance = instance
        self.server_name = server_name


class OtherInstances(Protocol):
    """The other instances."""

    async def require_here(self, context: Context, client: Client, config: BaseServerConfig) -> None:
        """Own a client's session with a server, if it lives in one place.

        Raises:
            ElsewhereError: Another instance owns it.
            StoreUnavailableError: The store cannot be reached.
        """
        ...

    def take_loss(self, client: Client, config: BaseServerConfig) -> bool:
        """Whether the state of a client's session with a server was lost with another instance."""
        ...

    def shared_session(self, client: Client, config: BaseServerConfig) -> SharedSession | None:
        """A client's session with a server, if every instance uses the same one."""
        ...

    def ended(self, session_id: str) -> None:
        """A client's session has ended."""
        ...

    async def answer(self, context: Context, elsewhere: ElsewhereError) -> Answer | None:
        """The answer of the instance that has what a request needs; `None` if this one has it now.

        Raises:
            JackfieldError: That instance ended before it answered, or cannot be reached.
            MCPError: The request failed.
        """
        ...
