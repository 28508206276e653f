"""Kept sessions: sessions that outlive the command that opened them, in one background process per user.

`lookup()` finds out whether a server's session is kept, and gives a handle to call through it; neither needs the SDK,
pydantic or asyncio. The parts: `place` (lock, socket), `client` and `starting` (in the command), `server`, `requests`
and `sessions` (in the background process), `leftovers` (of one that was killed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..local.protocol import DEFAULT_KEY as DEFAULT_KEY

if TYPE_CHECKING:
    from ..config.servers import BaseServerConfig
    from .kept import KeptSession


def lookup(
    config: BaseServerConfig | Mapping[str, Any], *, key: str | None = None, origin: str | None = None
) -> KeptSession | None:
    """The kept session that calls on this server are to go through.

    Args:
        config: The server's configuration, expanded, or a mapping of its fields.
        key: Which of the server's kept sessions; `default` if omitted.
        origin: The file the configuration was read from.

    Returns:
        A handle; `None` where none is kept and the configuration does not say `keep_alive`. With `keep_alive` the
        session, and the background process, are started by the first request.

    Raises:
        DaemonError: The background process cannot be trusted, does not answer, or is of another version and keeps a
            session of this server; with `keep_alive` also where the platform has no Unix sockets.
    """
    from ..local.directory import is_supported, not_supported
    from .kept import KeptSession

    get: Callable[[str], Any] = config.get if isinstance(config, Mapping) else lambda name: getattr(config, name, None)
    keep = bool(get("keep_alive") or get("keepAlive"))
    if not is_supported():
        if keep:
            raise not_supported()
        return None
    session = KeptSession(config, key=key, origin=origin, keep=keep)
    return session if keep or session.info() is not None else None
