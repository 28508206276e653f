"""A session at a server over HTTP that another process has opened, and that this one uses, too.

The server cannot tell them apart: a session there is an id in a header. What the server said at the handshake is known,
so that none is made.

Source: MCP 2025-11-25, basic/transports "Session Management".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2

from ..plain import as_table, parsed_json


@dataclass(frozen=True)
class KnownSession:
    """A session that is open at its server.

    Args:
        session_id: As the server gave it.
        initialized: The server's answer to `initialize`.
    """

    session_id: str
    initialized: Mapping[str, Any]

    def answer(self, request: httpx2.Request) -> httpx2.Response | None:
        """The answer to a request of the handshake, in the server's place; `None` if it is another one."""
        message = as_table(parsed_json(request.content))
        match message.get("method"):
            case "initialize":
                answer = {"jsonrpc": "2.0", "id": message.get("id"), "result": self.initialized}
                headers = {"mcp-session-id": self.session_id}
                return httpx2.Response(200, json=answer, headers=headers, request=request)
            case "notifications/initialized":
                return httpx2.Response(202, request=request)
            case _:
                return None


class SharedSession(Protocol):
    """The session of several processes at one server. One of them opens it."""

    async def known(self) -> KnownSession | None:
        """The session that another one has opened; `None` if this one is to open it, and to say what came of that.

        One that was given before is lost, and is not given again.
        """
        ...

    async def opened(self, session: KnownSession | None) -> None:
        """This process has opened the session; `None` if it could not, or the server keeps none."""
        ...

    @property
    def is_kept(self) -> bool:
        """Whether the server is to keep the session when this process leaves it."""
        ...
