"""`LeftSessions`: ends clients' sessions at servers over HTTP that no instance will end.

A session of a client that is over is ended at its servers by the instances that have a connection there. One that was
opened by an instance that was killed, or that nobody had open any more, would stay at the server until it expires. So
each such session is in the store, encrypted, until it has been ended: every instance looks for those whose client has
gone, takes one at a time, and ends it with a DELETE, as the client's user.

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
from typing import Any

import anyio
from mcp.server.request_state import InvalidRequestState
from mcp.types.version import LATEST_HANDSHAKE_VERSION

from ...config.servers import BaseServerConfig, HttpConfig
from ...errors import JackfieldError
from ...serving import Principal, StoreUnavailableError
from ...serving.stores import KeepsValues, SessionStore
from ...transport.taken_up import KnownSession
from ..asking import SharedChannel
from .keys import InstanceKeys

logger: logging.Logger = logging.getLogger("jackfield")

_GROUP = "upstream-sessions"

_LOOK_SECONDS = 5.0
_AT_ONCE = 10
_END_SECONDS = 10.0
"""How long a server may take to end a session."""

_MOST = 500
"""So many are looked at each time; the others next time."""

_KEPT_SECONDS = 24 * 3600.0
_OLD_SECONDS = 12 * 3600.0
"""After this time what is still used is kept for longer."""

ConfigFor = Callable[[str, "Principal | None"], BaseServerConfig | None]
"""A server, with the credentials of a user; `None` if it is not served any more."""


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
    at: float


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
        self, session_id: str, config: BaseServerConfig, principal: Principal | None, known_id: str
    ) -> None:
        """A client has a session at a server; one that it had there before is lost."""
        left = _Left(session_id, config.server_name, config.catalog_key, principal, known_id, time.time())
        await self._put(left)

    async def _put(self, left: _Left, expected: str | None = None) -> None:
        if not isinstance(self._store, KeepsValues):
            return
        key, sealed = _key(left.session_id, left.server_name), self._sealed(left)
        try:
            before = expected or await self._store.get_value(_GROUP, key)
            await self._store.swap_value(_GROUP, key, before, sealed, _KEPT_SECONDS)
        except StoreUnavailableError as error:
            logger.warning("[MCP][%s] A session may stay at the server: %s", left.server_name, error.message)

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
                logger.exception("[MCP][gateway] Sessions at servers could not be ended; it is tried again")

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
        limit = anyio.CapacityLimiter(_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for key, sealed in found:
                tasks.start_soon(self._look_at, store, key, sealed, live, len(found) == _MOST, limit)

    async def _look_at(
        self, store: KeepsValues, key: str, sealed: str, live: set[str], is_full: bool, limit: anyio.CapacityLimiter
    ) -> None:
        left = self._read(key, sealed)
        if left is not None and left.session_id in live:
            now = time.time()
            if is_full or now - left.at > _OLD_SECONDS:
                async with limit:
                    await self._put(replace(left, at=now), sealed)
            return
        async with limit:
            try:
                is_taken = await store.swap_value(_GROUP, key, sealed, None, 0)
            except StoreUnavailableError:
                return
            if is_taken and left is not None:
                self._on_ended(left.server_name, await self._end(left))

    async def _end(self, left: _Left) -> bool:
        """End one; whether the server was told."""
        from ...transport.connection import connect
        from ...transport.report import ConnectionReport

        try:
            config = self._config_for(left.server_name, left.principal)
            if not isinstance(config, HttpConfig) or config.catalog_key != left.catalog_key:
                return False
            report = ConnectionReport(config)
            with anyio.move_on_after(_END_SECONDS):
                # Its end is all that is said by this connection.
                async with connect(config, report, {}, LATEST_HANDSHAKE_VERSION, _Ending(left)):
                    pass
            if not report.is_ended_at_server:
                logger.info("[MCP][%s] A session that was left at the server may still be there", left.server_name)
            return report.is_ended_at_server
        except (JackfieldError, OSError) as error:
            logger.info("[MCP][%s] A session that was left at the server was not ended: %s", left.server_name, error)
            return False


class _Ending(SharedChannel):
    """Takes up a session, to end it.

    Args:
        left: The session.
    """

    def __init__(self, left: _Left) -> None:
        self._known_id = left.known_id

    @property
    def shared_session(self) -> _Ending:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The session."""
        return self

    @property
    def protocol_version(self) -> str:
        """One that has sessions."""
        return LATEST_HANDSHAKE_VERSION

    @property
    def is_kept(self) -> bool:
        """No: see `SharedSession.is_kept`."""
        return False

    async def known(self) -> KnownSession:
        """See `SharedSession.known`."""
        initialized: dict[str, Any] = {
            "protocolVersion": LATEST_HANDSHAKE_VERSION,
            "capabilities": {},
            "serverInfo": {"name": "server", "version": ""},
        }
        return KnownSession(self._known_id, initialized)

    async def opened(self, session: KnownSession | None) -> None:
        """See `SharedSession.opened`."""


def _key(session_id: str, server_name: str) -> str:
    return hashlib.sha256(f"{session_id}\n{server_name}".encode()).hexdigest()[:32]
