"""`Subscribed`: the resources that clients have subscribed to, and which instance hears of each, in the store.

They are kept under the client's session, encrypted. An instance that is to hear of a resource claims it first, so that
no client is told twice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mcp.server.request_state import InvalidRequestState

from ...plain import as_list
from .keys import InstanceKeys

if TYPE_CHECKING:
    from ...serving.stores import SessionStore

logger: logging.Logger = logging.getLogger("jackfield")

_KEY = "jackfield.subscribed"
_MAX_CHARS = 256 * 1024
"""So much of what one client subscribed to is kept."""

Holders = Mapping[tuple[str, str], str]
"""By server and URI, the name of the instance that hears of the resource."""

Change = Callable[[dict[tuple[str, str], str]], bool]
"""Changes what is kept; whether it did."""


class Subscribed:
    """What clients have subscribed to.

    Args:
        store: Has it.
        keys: Encrypt it.
        name: Of this instance.
    """

    def __init__(self, store: SessionStore, keys: InstanceKeys, name: Callable[[], str]) -> None:
        self._store = store
        self._keys = keys
        self._name = name

    async def of(self, session_id: str) -> Holders:
        """All that a client has subscribed to.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        return self._read(session_id, await self._store.get_state(session_id, _KEY))

    async def claim(self, session_id: str, server_name: str, uri: str, known: str | None) -> bool:
        """Be the instance that hears of a resource; whether it is.

        Args:
            session_id: The client's session.
            server_name: Whose resource it is.
            uri: As the client has it.
            known: The instance that had it before and hears of it no more; `None` if nobody had.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        place = server_name, uri

        def take(holders: dict[tuple[str, str], str]) -> bool:
            if holders.get(place) not in (known, self._name()):
                return False
            holders[place] = self._name()
            return True

        return await self._change(session_id, take)

    async def drop(self, session_id: str, uri: str) -> None:
        """Nobody is to hear of a resource any more.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """

        def leave_out(holders: dict[tuple[str, str], str]) -> bool:
            places = [place for place in holders if place[1] == uri]
            for place in places:
                del holders[place]
            return bool(places)

        await self._change(session_id, leave_out)

    async def _change(self, session_id: str, change: Change) -> bool:
        text = await self._store.get_state(session_id, _KEY)
        while True:
            holders = dict(self._read(session_id, text))
            if not change(holders):
                return False
            rows = [[server_name, uri, name] for (server_name, uri), name in holders.items()]
            plain = json.dumps([session_id, rows], separators=(",", ":"))
            if len(plain) > _MAX_CHARS:
                logger.warning("[MCP][gateway] A client's subscriptions are not stored: they are too long")
                return True
            sealed = self._keys.codec.seal(plain.encode())
            before, text = text, await self._store.swap_state(session_id, _KEY, text, sealed)
            if text in (sealed, None) or text == before:
                # It is stored, or the session has ended.
                return True

    def _read(self, session_id: str, text: str | None) -> Holders:
        if text is None:
            return {}
        try:
            whose, rows = as_list(json.loads(self._keys.codec.unseal(text))) or ("", [])
        except (InvalidRequestState, ValueError):
            logger.warning("[MCP][gateway] The stored record of a client's subscriptions cannot be read")
            return {}
        if whose != session_id:
            return {}
        return {(str(server), str(uri)): str(name) for server, uri, name in as_list(rows) or ()}
