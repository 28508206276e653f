"""`LeftSessions`: ends clients' sessions at servers over HTTP that no instance will end.

A session of a client that is over is ended at its servers by the instances that have a connection there. One that was
opened by an instance that was killed, or that nobody had open any more, would stay at the server until it expires. So
each such session is in the store, encrypted, until it has been ended: every instance looks for those whose client has
gone, takes one at a time, and ends it with a DELETE, as the client's user. If that fails, the session stays in the
store, and any instance tries again a while later.

Source: MCP 2025-11-25, basic/transports "Session Management".
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import anyio
from mcp.server.request_state import InvalidRequestState

from ...config.servers import BaseServerConfig, HttpConfig
from ...errors import JackfieldError
from ...logs import SessionLog
from ...serving import Principal, StoreUnavailableError
from ...serving.stores import KeepsValues, SessionStore
from ...transport.shared_session import KnownSession
from .keys import InstanceKeys

if TYPE_CHECKING:
    from ...transport.http import EndOutcome

logger: logging.Logger = logging.getLogger("jackfield")

_GROUP = "upstream-sessions"

_LOOK_SECONDS = 5.0
_AT_ONCE = 3

_PAUSES = (2.0, 10.0, 30.0, 120.0, 600.0)
"""Seconds after each failed attempt to end a session; there is no attempt after the last of them and one more."""

_TAKEN_SECONDS = 5.0
"""Beyond the time limit of a DELETE: after it, the instance that took a session is assumed to have died with it."""

_MOST = 200
"""So many are looked at each time; the others next time."""

_KEPT_SECONDS = 24 * 3600.0
_OLD_SECONDS = 12 * 3600.0
"""After this time what is still used is kept for longer."""

ConfigFor = Callable[[str, "Principal | None"], BaseServerConfig | None]
"""A server, with the credentials of a user; `None` if it is no longer served."""


@dataclass(frozen=True)
class _Left:
    """One session at a server, as it is in the store."""

    session_id: str
    """The client's."""
    server_name: str
    catalog_key: str
    """Of the server's configuration: another server of the same name is not told."""
    principal: Principal | None
    known_id: str
    """Of the session at the server."""
    version: str
    """The protocol's."""
    at: float
    attempts: int = 0
    """How often an instance tried to end it."""
    next_at: float = 0.0
    """Not before this time is it tried again."""


class LeftSessions:
    """The clients' sessions at servers over HTTP.

    Args:
        store: Has them, and the clients' sessions.
        keys: Encrypt them.
        config_for: Finds their servers.
        on_ended: Called with the server's name, and whether the session was ended there.
    """

    def __init__(
        self, store: SessionStore, keys: InstanceKeys, config_for: ConfigFor, on_ended: Callable[[str, bool], None]
    ) -> None:
        self._store = store
        self._keys = keys
        self._config_for = config_for
        self._on_ended = on_ended

    async def opened(
        self, session_id: str, config: BaseServerConfig, principal: Principal | None, known: KnownSession
    ) -> None:
        """A client has a session at a server; one that it had there before is lost."""
        version = str(known.initialized.get("protocolVersion", ""))
        place = session_id, config.server_name, config.catalog_key
        left = _Left(*place, principal, known.session_id, version, time.time())
        await self._put(left)

    async def _put(self, left: _Left, expected: str | None = None) -> None:
        if not isinstance(self._store, KeepsValues):
            return
        key, sealed = _key(left.session_id, left.server_name), self._sealed(left)
        try:
            before = expected or await self._store.get_value(_GROUP, key)
            await self._store.swap_value(_GROUP, key, before, sealed, _KEPT_SECONDS)
        except StoreUnavailableError as error:
            logger.warning("[MCP][%s] A session may remain open at the server: %s", left.server_name, error.message)

    async def ended(self, session_id: str, server_names: Sequence[str]) -> None:
        """This instance ends a client's sessions at some servers itself."""
        if isinstance(self._store, KeepsValues):
            for server_name in server_names:
                key = _key(session_id, server_name)
                try:
                    if (sealed := await self._store.get_value(_GROUP, key)) is not None:
                        await self._store.swap_value(_GROUP, key, sealed, None, 0)
                except StoreUnavailableError:
                    # It is ended twice, which does no harm.
                    return

    def _sealed(self, left: _Left) -> str:
        return self._keys.codec.seal(json.dumps(asdict(left), separators=(",", ":")).encode())

    def _read(self, key: str, sealed: str) -> _Left | None:
        try:
            table = json.loads(self._keys.codec.unseal(sealed))
            principal = table.pop("principal")
            left = _Left(**table, principal=None if principal is None else Principal(**principal))
        except (InvalidRequestState, ValueError, TypeError, KeyError):
            return None
        return left if _key(left.session_id, left.server_name) == key else None

    async def look(self) -> None:
        """Look for those whose client has gone, until cancelled."""
        while True:
            await anyio.sleep(_LOOK_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            try:
                await self.look_once()
            except StoreUnavailableError:
                continue
            except Exception:
                logger.exception("[MCP][gateway] Sessions at servers could not be ended; trying again")

    async def look_once(self) -> None:
        """End the sessions at servers whose client has gone.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        store = self._store
        if not isinstance(store, KeepsValues):
            return
        found = await store.values(_GROUP, _MOST)
        # Asked for afterwards: each of those was there before it had a session at a server.
        live = set(await store.live()) if found else set[str]()
        looked_at = iter(found)

        async def look_at_some() -> None:
            try:
                for key, sealed in looked_at:
                    await self._look_at(store, key, sealed, live, is_full=len(found) == _MOST)
            except StoreUnavailableError as error:
                logger.info("[MCP][gateway] Leftover sessions at servers will be checked later: %s", error.message)

        async with anyio.create_task_group() as tasks:
            for _ in range(_AT_ONCE):
                tasks.start_soon(look_at_some)

    async def _look_at(self, store: KeepsValues, key: str, sealed: str, live: set[str], *, is_full: bool) -> None:
        left = self._read(key, sealed)
        if left is None:
            await store.swap_value(_GROUP, key, sealed, None, 0)
        elif left.session_id not in live:
            if time.time() >= left.next_at:
                await self._try_to_end(store, key, sealed, left)
        elif is_full or time.time() - left.at > _OLD_SECONDS:
            await self._put(replace(left, at=time.time()), sealed)

    async def _try_to_end(self, store: KeepsValues, key: str, sealed: str, left: _Left) -> None:
        """End one, unless another instance is about to; keep it for another attempt if that fails."""
        config = self._config_of(left)
        seconds = _TAKEN_SECONDS + (0.0 if config is None else config.session.close_timeout)
        taken = replace(left, attempts=left.attempts + 1, next_at=time.time() + seconds)
        sealed_taken = self._sealed(taken)
        if not await store.swap_value(_GROUP, key, sealed, sealed_taken, _KEPT_SECONDS):
            return
        outcome = "refused" if config is None else await self._end(left, config)
        if outcome == "failed" and left.attempts < len(_PAUSES):
            later = replace(taken, next_at=time.time() + _PAUSES[left.attempts])
            await store.swap_value(_GROUP, key, sealed_taken, self._sealed(later), _KEPT_SECONDS)
            return
        await store.swap_value(_GROUP, key, sealed_taken, None, 0)
        if outcome != "ended":
            logger.info("[MCP][%s] A leftover session may still exist at the server", left.server_name)
        self._on_ended(left.server_name, outcome == "ended")

    def _config_of(self, left: _Left) -> HttpConfig | None:
        """Its server, with the credentials of the client's user; `None` if that is no longer served."""
        config = self._config_for(left.server_name, left.principal)
        return config if isinstance(config, HttpConfig) and config.catalog_key == left.catalog_key else None

    async def _end(self, left: _Left, config: HttpConfig) -> EndOutcome:
        """Tell the server that one is over."""
        from ...transport.http import end_session

        try:
            return await end_session(config, SessionLog(left.server_name), left.known_id, left.version)
        except (JackfieldError, OSError) as error:
            logger.info("[MCP][%s] A leftover session at the server was not ended: %s", left.server_name, error)
        return "failed"


def _key(session_id: str, server_name: str) -> str:
    return hashlib.sha256(f"{session_id}\n{server_name}".encode()).hexdigest()[:32]
