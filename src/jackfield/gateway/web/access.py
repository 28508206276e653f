"""`PageAccess`: who may see the page.

Where clients need no token, a one-time link lets in the person who started the gateway: its code stands behind the `#`,
which browsers send to nobody, and is exchanged for a token that the page keeps for its tab. Where clients need tokens,
the page needs one, too, with the scope `admin`; it is checked for each request.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mcp.server.auth.provider import TokenVerifier

from ...auth.tokens import accepted, digest_of
from ...masking import keep_secret
from ..scopes import ADMIN
from .browser_sign_in import BrowserSignIn

CODE_SECONDS = 300.0
"""How long a one-time link is valid."""
IDLE_SECONDS = 12 * 3600.0
"""A page that was not used for so long has to sign in again."""
LINK_PAUSE = 5.0
"""Seconds between two links that a page asks for: each is a line in the operator's terminal."""

_MOST_PAGES = 100
_MOST_CODES = 20


@dataclass
class _Code:
    expires_at: float
    nonce: str
    token: str | None


class PageAccess:
    """Lets people in.

    Args:
        url: Of the page.
        tokens: Checks the tokens of clients, if they need any.
        on_link: Given each new one-time link, for the operator's terminal; without it there are no links.
        sign_in: Gets such tokens for people, at the authorization server.
    """

    def __init__(
        self,
        url: str,
        *,
        tokens: TokenVerifier | None = None,
        on_link: Callable[[str], None] | None = None,
        sign_in: BrowserSignIn | None = None,
    ) -> None:
        self.url = url
        self._tokens = tokens
        self.sign_in: BrowserSignIn | None = sign_in
        self._on_link = on_link if tokens is None else None
        self._codes: OrderedDict[str, _Code] = OrderedDict()
        self._pages: OrderedDict[str, float] = OrderedDict()
        self._next_link_at = 0.0

    @property
    def ways(self) -> list[str]:
        """How one can sign in."""
        if self._tokens is None:
            return ["link"]
        return ["token"] if self.sign_in is None else ["oauth", "token"]

    # Links

    def link(self) -> str:
        """A new link, which lets in the first person who opens it."""
        return f"{self.url}#code={self.code()}"

    def code(self, *, nonce: str = "", token: str | None = None) -> str:
        """A new code for the address of the page.

        Args:
            nonce: Only the tab that knows it may use the code.
            token: What it is exchanged for; a new token of the page's own if omitted.
        """
        code = secrets.token_urlsafe(24)
        keep_secret(self, [("code", code)])
        self._codes[digest_of(code)] = _Code(time.monotonic() + CODE_SECONDS, nonce, token)
        while len(self._codes) > _MOST_CODES:
            self._codes.popitem(last=False)
        return code

    def tell_link(self) -> bool:
        """Give the operator a new link; false if there are none, or it was asked for a moment ago."""
        now = time.monotonic()
        if self._on_link is None or now < self._next_link_at:
            return False
        self._next_link_at = now + LINK_PAUSE
        self._on_link(self.link())
        return True

    def redeem(self, code: str, nonce: str = "") -> str | None:
        """Exchange a code for a token; `None` if it is not valid (any more)."""
        found = self._codes.pop(digest_of(code), None)
        if found is None or time.monotonic() > found.expires_at:
            return None
        if not secrets.compare_digest(digest_of(found.nonce), digest_of(nonce if found.nonce else "")):
            return None
        if found.token is not None:
            return found.token
        token = secrets.token_urlsafe(32)
        keep_secret(self, [("token", token)])
        self._pages[digest_of(token)] = time.monotonic()
        while len(self._pages) > _MOST_PAGES:
            self._pages.popitem(last=False)
        return token

    # Tokens

    async def admits(self, token: str) -> bool:
        """Whether a token lets its bearer see and change everything here.

        Raises:
            TokenCheckError: That cannot be found out now.
        """
        if self._tokens is not None:
            found = await accepted(self._tokens, token)
            return found is not None and ADMIN in found.scopes
        key, now = digest_of(token), time.monotonic()
        used_at = self._pages.pop(key, None)
        if used_at is None or now - used_at > IDLE_SECONDS:
            return False
        self._pages[key] = now
        return True

    def forget(self, token: str) -> None:
        """The page signs out."""
        self._pages.pop(digest_of(token), None)
