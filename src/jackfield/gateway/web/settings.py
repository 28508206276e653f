"""What the page is served with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .background import BackgroundProcess


@dataclass(frozen=True)
class WebClient:
    """The page as a client of an authorization server, where people sign in with their browser.

    Args:
        issuer: The authorization server, exactly as its metadata names it.
        client_id: Of a public client, whose redirect URI is the page's address with `page/signed-in`.
        resource: What tokens are to be issued for.
        scopes: To ask for.
    """

    issuer: str
    client_id: str
    resource: str
    scopes: Sequence[str]


@dataclass(frozen=True)
class WebSettings:
    """What the gateway's page needs.

    Args:
        on_link: Given each one-time link that a person on the page asks for, for the operator's terminal.
        background: Keeps sessions between commands; they are shown, too.
        oauth: Lets people sign in at the authorization server of the clients' tokens.
    """

    on_link: Callable[[str], None]
    background: BackgroundProcess | None = None
    oauth: WebClient | None = None
