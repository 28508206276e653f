"""The page of a gateway that `jackfield serve --web` serves: its link in the terminal, and in the browser."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .browser import has_browser, open_browser
from .output import Output, is_terminal

if TYPE_CHECKING:
    from ..gateway.web.settings import WebSettings
    from .serve_users import UserOptions


def page_settings(output: Output, users: UserOptions, client_id: str | None) -> WebSettings:
    """What the page needs of the command.

    Args:
        output: Where links are shown.
        users: Say who is let in.
        client_id: Of the page at the authorization server, if people can sign in there.
    """
    from ..gateway.scopes import ADMIN, EVERY_SERVER
    from ..gateway.web.settings import WebClient, WebSettings

    oauth = None
    if client_id is not None and users.auth_issuer is not None:
        resource = users.public_url or users.audience[0]
        oauth = WebClient(users.auth_issuer, client_id, resource, [ADMIN, EVERY_SERVER])
    return WebSettings(on_link=lambda link: _note(output, link), background=_Background(), oauth=oauth)


def show_page(output: Output, address: str) -> None:
    """Say where the page is, and open it if a person is there to see it."""
    _note(output, address)
    if is_terminal(sys.stderr) and has_browser():
        open_browser(address)


def _note(output: Output, address: str) -> None:
    valid = " (valid once, for 5 minutes)" if "#code=" in address else ""
    output.note(f"Its page: {address}{valid}")


class _Background:
    """The process that keeps sessions between commands. Asking it waits, so it is done in a thread."""

    async def sessions(self) -> Mapping[str, Any] | None:
        """The process and its sessions; `None` if none runs."""
        from anyio.to_thread import run_sync

        from ..daemon.kept import processes

        return await run_sync(processes, abandon_on_cancel=True)

    async def close(self, server_name: str, key: str | None) -> int:
        """Close kept sessions of a server; returns their number."""
        from anyio.to_thread import run_sync

        from ..daemon.kept import close_sessions

        return len(await run_sync(close_sessions, server_name, key, abandon_on_cancel=True))
