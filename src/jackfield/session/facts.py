"""`SessionFacts`: what a session says of itself and of its server, without a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp.types import Implementation, InitializeResult, ServerCapabilities

from ..config.servers import BaseServerConfig
from .calling import Caller
from .owner import SessionOwner
from .statistics import SessionInfo

if TYPE_CHECKING:
    from mcp import Client, ClientSession


class SessionFacts:
    """The part of `Session` that sends nothing."""

    _owner: SessionOwner
    _caller: Caller

    @property
    def server_name(self) -> str:
        """The name in the configuration."""
        return self._owner.config.server_name

    @property
    def config(self) -> BaseServerConfig:
        """The server's configuration."""
        return self._owner.config

    @property
    def key(self) -> str | None:
        """The session's key; `None` for a private one."""
        return self._owner.key

    @property
    def session_id(self) -> str:
        """The session's id, which all its events and log lines have; the same after a recovery."""
        return self._owner.session_id

    @property
    def generation(self) -> int:
        """How often the session was opened: 1, and one more for each recovery. State kept behind it in an
        earlier generation is lost."""
        return self._owner.generation

    @property
    def state_lost(self) -> bool:
        """Whether state behind it was lost and no result or error of this session has said so yet."""
        return not self._caller.knows_losses

    def acknowledge(self) -> None:
        """Acknowledge the lost state: the next call is made, and its result has no `state_lost`.

        For use with `on_state_lost="refuse"`, after a `SessionLost` event or after you have restored the state.
        It applies to all users of the session.
        """
        self._caller.acknowledge()

    @property
    def protocol_version(self) -> str:
        """The version negotiated with the server, such as `2026-07-28` or `2025-11-25`."""
        return self._client().protocol_version

    @property
    def server_info(self) -> Implementation | None:
        """The server's name and version; `None` if it does not report them."""
        return self._client().server_info

    @property
    def server_capabilities(self) -> ServerCapabilities:
        """The capabilities that the server reports."""
        return self._client().server_capabilities

    @property
    def instructions(self) -> str | None:
        """The server's advice for models on how to use it."""
        return self._client().instructions

    @property
    def process_id(self) -> int | None:
        """The child's process id; `None` without a child."""
        return self._owner.info().process_id

    def info(self) -> SessionInfo:
        """The current state of the session."""
        return self._owner.info()

    @property
    def sdk_session(self) -> ClientSession:
        """The SDK's own session, for features that are missing here. Jackfield's timeouts do not apply to its calls."""
        return self._client().session

    async def initialize(self) -> InitializeResult:
        """The server's information from when the session was opened. Sends nothing: an open session is initialized.

        For code that was written for the SDK's session, or for AG2's.
        """
        client = self._client()
        return InitializeResult(
            protocol_version=client.protocol_version,
            capabilities=client.server_capabilities,
            server_info=client.server_info or Implementation(name=self.server_name, version=""),
            instructions=client.instructions,
        )

    def _client(self) -> Client:
        connection = self._caller.usable().connection
        if connection is None:
            raise self._owner.ended(sent=False)
        return connection.client
