"""`StoredSession`: a client's session with a server over HTTP, which every instance uses.

The store has the server's session id, encrypted, under the client's session. One instance opens it; others that need it
meanwhile wait for that.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable

import anyio

from ...serving import StoreUnavailableError
from ...serving.stores import SessionStore
from ...transport.shared_session import KnownSession
from .keys import InstanceKeys

logger: logging.Logger = logging.getLogger("jackfield")

_WAIT_SECONDS = 0.05
"""How often it is looked whether the instance that opens a session has done so."""

_LONGEST_WAIT_SECONDS = 30.0

_OPENING = "opening "
_NONE = "none"
"""The server keeps no session."""


class StoredSession:
    """What one opening of a session knows of the others.

    Args:
        store: Has it.
        keys: Encrypt it.
        place: The client's session, and the server.
        instance: The name of this one.
        is_gone: Whether the client's session has ended.
        on_opened: Called with each session that is opened.
    """

    def __init__(
        self,
        store: SessionStore,
        keys: InstanceKeys,
        place: tuple[str, str],
        instance: str,
        is_gone: Callable[[], bool],
        on_opened: Callable[[KnownSession], Awaitable[None]],
    ) -> None:
        self._store = store
        self._keys = keys
        self._session_id, self._server_name = place
        self._instance = instance
        self._is_gone = is_gone
        self._on_opened = on_opened
        self._key = f"jackfield.session:{self._server_name}"
        self._given: set[str] = set()
        """Texts in the store that are of no use any more."""
        self._claim: str | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the server is to keep the session when this instance leaves it: until the client is gone."""
        return not self._is_gone()

    async def known(self) -> KnownSession | None:
        """See `SharedSession.known`."""
        try:
            with anyio.move_on_after(_LONGEST_WAIT_SECONDS):
                return await self._known()
        except StoreUnavailableError as error:
            logger.warning("[MCP][gateway] A separate session is opened with %s: %s", self._server_name, error.message)
        return None

    async def _known(self) -> KnownSession | None:
        mine = f"{_OPENING}{self._instance}"
        text = await self._store.get_state(self._session_id, self._key)
        while True:
            if text == _NONE:
                return None
            if text is None or text in self._given or (text != mine and await self._is_abandoned(text)):
                before, text = text, await self._store.swap_state(self._session_id, self._key, text, mine)
                if text is None or (text == mine and before != mine):
                    self._claim = mine
                    return None
            elif text == mine:
                # Of an opening that was broken off.
                self._claim = mine
                return None
            elif not text.startswith(_OPENING):
                self._given.add(text)
                if (session := self._read(text)) is not None:
                    return session
            else:
                await anyio.sleep(_WAIT_SECONDS)
                text = await self._store.get_state(self._session_id, self._key)

    async def _is_abandoned(self, text: str) -> bool:
        if not text.startswith(_OPENING):
            return False
        return not await self._store.backplane.is_alive(text.removeprefix(_OPENING))

    async def opened(self, session: KnownSession | None) -> None:
        """See `SharedSession.opened`."""
        claim, self._claim = self._claim, None
        if claim is None:
            return
        text = None if session is None else self._written(session) if session.session_id else _NONE
        try:
            # Others wait for it, also where this opening is broken off.
            with anyio.CancelScope(shield=True):
                if session is not None and session.session_id:
                    await self._on_opened(session)
                if text is None:
                    await self._store.set_state(self._session_id, self._key, None)
                else:
                    self._given.add(text)
                    await self._store.swap_state(self._session_id, self._key, claim, text)
        except StoreUnavailableError as error:
            logger.warning("[MCP][gateway] A session is used by this instance alone: %s", error.message)

    def _written(self, session: KnownSession) -> str:
        data = [self._session_id, self._server_name, session.session_id, session.initialized]
        return self._keys.codec.seal(json.dumps(data, separators=(",", ":")).encode())

    def _read(self, text: str) -> KnownSession | None:
        from mcp.server.request_state import InvalidRequestState

        try:
            session_id, server_name, known, initialized = json.loads(self._keys.codec.unseal(text))
        except (InvalidRequestState, ValueError):
            logger.warning("[MCP][gateway] The stored record of a session with %s cannot be read", self._server_name)
            return None
        if (session_id, server_name) != (self._session_id, self._server_name):
            return None
        return KnownSession(known, initialized)
