"""`Across`: what a client has set holds at all instances of the gateway: its log level, its roots, its subscriptions.

A client's request reaches one instance, and its servers may be with others. So the others are told, and do the same
with what they have of the client. What it subscribed to is in the store: an instance that takes over a server from one
that died subscribes again, and so does one that serves the client where a server over HTTP was subscribed to by an
instance that is gone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...config.servers import BaseServerConfig, HttpConfig
from ...plain import as_list, as_table, parsed_json
from ...serving import StoreUnavailableError
from ..broadcast import set_level, tell
from ..client import Client
from .subscribed import Holders, Subscribed

if TYPE_CHECKING:
    from ...serving.stores import SessionStore
    from ..clients import Clients
    from .keys import InstanceKeys
    from .talk import Talk

logger: logging.Logger = logging.getLogger("jackfield")

_TOPIC = "client"
_LEFT_TOPIC = "left"


class Across:
    """Tells other instances what a client has set, and does what they tell.

    Args:
        clients: Of this instance.
        talk: Reaches the others.
        store: Has the clients' sessions.
        keys: Encrypt what clients have subscribed to.
    """

    def __init__(self, clients: Clients, talk: Talk, store: SessionStore, keys: InstanceKeys) -> None:
        self._clients = clients
        self._talk = talk
        self._store = store
        self._subscribed = Subscribed(store, keys, lambda: talk.name)
        self._left: set[str] = set()
        """The instances that have ended in an orderly way, and may seem to live for a moment."""
        talk.hears[_TOPIC] = self._hear
        talk.hears[_LEFT_TOPIC] = self._hear_of_end

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
        """Hear no more of a resource, if this instance does."""
        if (found := client.updated.pop(uri, None)) is not None:
            client.subscriptions.remove(*found)

    async def claim(self, client: Client, config: BaseServerConfig, uri: str) -> bool:
        """Be the instance that hears of a resource for a client; `False` if another one does.

        A server that lives in one place must be with this instance.
        """
        if client.session_id is None:
            return True
        try:
            holders = await self._subscribed.of(client.session_id)
            holder = holders.get((config.server_name, uri))
            if isinstance(config, HttpConfig) and holder not in (None, self._talk.name) and await self._lives(holder):
                return False
            return await self._subscribed.claim(client.session_id, config.server_name, uri, holder)
        except StoreUnavailableError as error:
            logger.warning(
                "[MCP][gateway] A subscription to %s could not be stored: %s", config.server_name, error.message
            )
            return True

    async def drop(self, client: Client, uri: str) -> None:
        """No instance is to hear of a resource any more."""
        if client.session_id is None:
            return
        try:
            await self._subscribed.drop(client.session_id, uri)
        except StoreUnavailableError as error:
            logger.warning("[MCP][gateway] The end of a subscription could not be stored: %s", error.message)

    async def subscribed(self, client: Client, server_name: str) -> Sequence[str]:
        """The URIs that a client has subscribed to at a server, by whichever instance."""
        return [uri for server, uri in await self._holders(client) if server == server_name]

    async def lost(self, client: Client) -> Sequence[str]:
        """The URIs of which an instance heard for a client that is gone, at servers over HTTP."""
        lost: list[str] = []
        for (server_name, uri), holder in (await self._holders(client)).items():
            config = self._clients.served(server_name)
            if isinstance(config, HttpConfig) and not await self._lives(holder):
                lost.append(uri)
        return lost

    async def look(self) -> None:
        """Hear no more of what another instance has claimed while this one stood still."""
        for client in self._clients:
            if client.updated:
                holders = await self._holders(client)
                for uri, (subject, _) in list(client.updated.items()):
                    if holders.get((subject.config.server_name, uri), self._talk.name) != self._talk.name:
                        await self.unsubscribe(client, uri)

    async def say_goodbye(self) -> None:
        """This instance ends: others hear of what its clients subscribed to."""
        await self._talk.tell_all(_LEFT_TOPIC, "")

    async def _hear_of_end(self, instance: str, text: str) -> None:
        self._left.add(instance)
        await self.gone(instance)

    async def gone(self, instance: str) -> None:
        """An instance has ended: subscribe again for the clients of this one."""
        if instance == self._talk.name:
            await self.look()
            return
        for client in self._clients:
            if await self.lost(client):
                self._clients.subscribe_again(client)

    async def _lives(self, instance: str) -> bool:
        if instance in self._left:
            return False
        try:
            return instance == self._talk.name or await self._store.backplane.is_alive(instance)
        except StoreUnavailableError:
            # Nothing is known of anybody.
            return True

    async def _holders(self, client: Client) -> Holders:
        if client.session_id is None:
            return {}
        try:
            return await self._subscribed.of(client.session_id)
        except StoreUnavailableError:
            return {}
