"""What a client tells several servers at once: the log level that it wants, that its roots changed, and more."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import anyio
from mcp.types import LOG_LEVEL_META_KEY

from ..config.servers import BaseServerConfig
from ..errors import JackfieldError
from ..loops import Deadline
from ..plain import as_table
from ..serving.context import LEVELS
from ..session.relay import relay
from ..session.session import caller_of
from .eras import is_modern
from .messages import Context, RawMessage

if TYPE_CHECKING:
    from mcp.types import ClientNotification

    from ..session.session import Session
    from .client import Client
    from .clients import Clients

logger: logging.Logger = logging.getLogger("jackfield")

_SECONDS = 10.0
"""How long all servers together may take to be told."""


async def set_level(clients: Clients, client: Client, level: str) -> None:
    """A client of the older protocol wants log messages of a level and above, also of servers opened later."""
    client.log_level = level

    async def ask(session: Session) -> None:
        if session.server_capabilities.logging is not None:
            await relay(caller_of(session), "logging/setLevel", {"level": level}, is_safe=True)

    await _each(clients, client, ask)


async def tell(
    clients: Clients,
    client: Client,
    method: str,
    params: Mapping[str, Any] | None,
    configs: Sequence[BaseServerConfig] | None = None,
) -> None:
    """Pass a notification of a client of the older protocol on, as it is.

    Args:
        clients: Have its sessions.
        client: The client.
        method: Of the notification.
        params: Of the notification.
        configs: To these servers only.
    """
    notification = cast("ClientNotification", RawMessage(method, params))
    await _each(clients, client, lambda session: session.sdk_session.send_notification(notification), configs)


async def ask_for_log(client: Client, session: Session, config: BaseServerConfig, context: Context) -> None:
    """Have a server of the older protocol send what a request of a client of the newer one asks for.

    A level that was asked for stays: of what comes, each request gets what it wants.
    """
    level = as_table((context.params or {}).get("_meta")).get(LOG_LEVEL_META_KEY)
    asked = client.asked_levels.get(config.server_name)
    if level not in LEVELS or session.server_capabilities.logging is None:
        return
    if asked is None or LEVELS.index(level) < LEVELS.index(asked):
        client.asked_levels[config.server_name] = level
        await relay(caller_of(session), "logging/setLevel", {"level": level}, is_safe=True)


async def _each(
    clients: Clients,
    client: Client,
    tell: Callable[[Session], Awaitable[None]],
    configs: Sequence[BaseServerConfig] | None = None,
) -> None:
    """Tell each server of the older protocol that the client has a session with; one that fails costs no other."""

    async def one(config: BaseServerConfig) -> None:
        try:
            async with clients.upstream(client, config, Deadline.after(_SECONDS)) as session:
                if not is_modern(session.protocol_version):
                    await tell(session)
        except JackfieldError as error:
            logger.info("[MCP][gateway] %s was not told: %s", config.server_name, error.message)

    with anyio.move_on_after(_SECONDS):
        async with anyio.create_task_group() as tasks:
            for config in clients.open_to(client) if configs is None else configs:
                tasks.start_soon(one, config)
