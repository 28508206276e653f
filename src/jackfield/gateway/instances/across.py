"""`Across`: what a client has set holds at all instances of the gateway: its log level, its roots, its subscriptions.

A client's request reaches one instance, and its servers may be with others. So the others are told, and do the same
with what they have of the client. What it subscribed to is kept in the store, under its session: an instance that takes
over a server from one that died subscribes again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...plain import as_list, as_strings, as_table, parsed_json
from ...serving import StoreUnavailableError
from ..client import Client
from ..to_servers import set_level, tell

if TYPE_CHECKING:
    from ...serving.stores import SessionStore
    from ..clients import Clients
    from .talk import Talk

logger: logging.Logger = logging.getLogger("jackfield")

_TOPIC = "client"
_MAX_CHARS = 256 * 1024
"""So much of what a client subscribed to at one server is kept."""


class Across:
    """Tells other instances what a client has set, and does what they tell.

    Args:
        clients: Of this instance.
        talk: Reaches the others.
        store: Has the clients' sessions.
    """

    def __init__(self, clients: Clients, talk: Talk, store: SessionStore) -> None:
        self._clients = clients
        self._talk = talk
        self._store = store
        talk.hears[_TOPIC] = self._hear

    async def tell(
        self, client: Client, method: str, params: Mapping[str, Any] | None, servers: Sequence[str] | None = None
    ) -> None:
        """Have the others do what a client asked for.

        Args:
            client: The client.
            method: Of its message.
            params: Of its message.
            servers: The servers that it is for; all if omitted.
        """
        if client.session_id is not None:
            told = {"session": client.session_id, "method": method, "params": params, "servers": servers}
            await self._talk.tell_all(_TOPIC, json.dumps(told))

    async def _hear(self, instance: str, text: str) -> None:
        told = as_table(parsed_json(text))
        client = self._clients.known(str(told.get("session")))
        if client is None:
            return
        method, params = str(told.get("method")), as_table(told.get("params"))
        match method:
            case "logging/setLevel":
                await set_level(self._clients, client, str(params.get("level")))
            case "resources/unsubscribe":
                await self.unsubscribe(client, str(params.get("uri")))
            case _:
                names = told.get("servers")
                configs = self._clients.open_to(client)
                known = [one for one in configs if names is None or one.server_name in as_list(names)]
                await tell(self._clients, client, method, params or None, known)

    # Subscriptions

    async def unsubscribe(self, client: Client, uri: str) -> None:
        """Hear no more of a resource, if its server is with this instance."""
        if (found := client.updated.pop(uri, None)) is not None:
            subject, updated = found
            client.subscriptions.remove(subject, updated)
            await self.note(client, subject.config.server_name)

    async def note(self, client: Client, server_name: str) -> None:
        """Keep what a client has subscribed to at a server."""
        if client.session_id is None:
            return
        uris = [uri for uri, (subject, _) in client.updated.items() if subject.config.server_name == server_name]
        text = json.dumps(uris)
        try:
            if len(text) <= _MAX_CHARS:
                await self._store.set_state(client.session_id, _key(server_name), text if uris else None)
        except StoreUnavailableError as error:
            logger.warning("[MCP][gateway] The subscriptions to %s are not kept: %s", server_name, error.message)

    async def subscribed(self, client: Client, server_name: str) -> Sequence[str]:
        """The URIs that a client has subscribed to at a server, by whichever instance."""
        if client.session_id is None:
            return []
        try:
            text = await self._store.get_state(client.session_id, _key(server_name))
        except StoreUnavailableError:
            return []
        return as_strings(parsed_json(text or "[]")) or []


def _key(server_name: str) -> str:
    return f"jackfield.subscribed:{server_name}"
