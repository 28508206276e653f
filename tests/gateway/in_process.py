"""A gateway in this process, over HTTP, for tests that look into it or change its bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.server.auth.provider import AccessToken
from tests.serving.authorized import listening

from jackfield import CallHook, Catalog, HttpConfig, MCPClientSessionManager, MCPConfig, SessionConfig
from jackfield.gateway.gateway import Gateway
from jackfield.serving import serve_sessions


class Tokens:
    """Takes every token, which is the name of its user."""

    def __init__(self) -> None:
        self.scopes: dict[str, list[str]] = {}
        """Of users who may not use every server."""

    async def verify_token(self, token: str) -> AccessToken:
        scopes = self.scopes.get(token, ["servers:*"])
        subject = token.removeprefix("client-token-of-")
        return AccessToken(token=token, client_id="client", scopes=scopes, subject=subject)


@dataclass
class Here:
    """The gateway, and where it is reached."""

    gateway: Gateway
    url: str
    tokens: Tokens

    def config(self, era: str, *, user: str | None = None, **session: Any) -> HttpConfig:
        headers = {} if user is None else {"Authorization": f"Bearer {user}"}
        protocol = "handshake" if era == "handshake" else "auto"
        settings = SessionConfig(**{"timeout": 30, "call_timeout": 30, **session})
        return HttpConfig(
            server_name="gateway",
            url=self.url,
            protocol=protocol,
            headers=headers,  # type: ignore[arg-type]
            session=settings,
        )


@asynccontextmanager
async def gateway_of(
    folder: Path,
    configs: Sequence[Any],
    *,
    with_users: bool = False,
    all_tools: bool = True,
    hooks: Sequence[CallHook] = (),
    reconnect_timeout: float | None = None,
    **options: Any,
) -> AsyncIterator[Here]:
    """A gateway in front of servers; with users, each client has the token that is its user's name. Hooks are those of
    its manager."""
    config, tokens = MCPConfig(servers=list(configs)), Tokens()
    async with MCPClientSessionManager(config, catalog=Catalog(folder / "catalog"), hooks=hooks) as manager:
        async with Gateway(manager, all_tools=all_tools, **options) as gateway:
            app = serve_sessions(
                gateway.server,
                auth=tokens if with_users else None,
                reconnect_timeout=reconnect_timeout,
                on_session_end=gateway.clients.end,
            )
            async with listening(app) as address:
                yield Here(gateway, f"{address}/mcp", tokens)
