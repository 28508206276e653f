"""`UserTokens`: the OAuth tokens of a gateway's users, encrypted: a file for each user and server, or, where several
instances share a store, there.

A user signs in to a server by the gateway, which alone holds what it is given.

Source: MCP 2025-11-25, security best practices, "Token Passthrough".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState

from ..config.oauth import TokenPlace
from ..files import user_state_folder
from ..plain import as_list, parsed_json
from .users import User


class Sealer:
    """Encrypts text for one purpose. The first key encrypts, all decrypt, so that they can be rotated.

    Args:
        keys: Each of at least 32 bytes.
        purpose: What is sealed for another one is not opened.
    """

    def __init__(self, keys: Sequence[bytes], purpose: str) -> None:
        self._codec = AESGCMRequestStateCodec([hmac.digest(key, purpose.encode(), hashlib.sha256) for key in keys])

    def seal(self, whose: str, text: str) -> str:
        """Encrypt a text.

        Args:
            whose: Must be given to decrypt it.
            text: Anything.
        """
        return self._codec.seal(json.dumps([whose, text]).encode())

    def unseal(self, whose: str, sealed: str) -> str | None:
        """What was sealed; `None` if it is not that, was sealed for somebody else, or with another key."""
        try:
            opened = parsed_json(self._codec.unseal(sealed))
        except InvalidRequestState:
            return None
        owner, text = as_list(opened) or ("", None)
        return text if owner == whose and isinstance(text, str) else None


class SharedTokens(Protocol):
    """Keeps tokens where all instances find them."""

    def place(self, user: str, place: TokenPlace) -> TokenPlace:
        """Where those of one user are, instead of another place."""
        ...

    def look_again(self, user: str) -> None:
        """A user has signed in, by whichever instance."""
        ...


class UserTokens:
    """Where the tokens of users are.

    Args:
        keys: Encrypt them; each of at least 32 bytes.
        folder: For their files; in the user's state directory if omitted.
    """

    def __init__(self, keys: Sequence[bytes], folder: Path | None = None) -> None:
        self._folder = folder or user_state_folder() / "gateway" / "tokens"
        self._sealer = Sealer(keys, "jackfield tokens of users")
        self._tickets = Sealer(keys, "jackfield sign-ins of users")
        self._shared: SharedTokens | None = None

    def keep_in(self, shared: SharedTokens) -> None:
        """Keep them in the store of several instances, and take from the folder what is there."""
        self._shared = shared

    def look_again(self, user: User) -> None:
        """A user has signed in, by whichever instance."""
        if self._shared is not None:
            self._shared.look_again(user.digest)

    def place(self, user: User) -> TokenPlace:
        """Where those of one user are."""
        digest = user.digest
        place = TokenPlace(
            self._folder / digest,
            lambda text: self._sealer.seal(digest, text),
            lambda sealed: self._sealer.unseal(digest, sealed),
        )
        return place if self._shared is None else self._shared.place(digest, place)

    def ticket(self, user: User, server_name: str, good_until: float) -> str:
        """What a link names a sign-in by. Only a holder of the keys can make one."""
        about = {"subject": user.subject, "issuer": user.issuer, "server": server_name, "until": good_until}
        return self._tickets.seal("ticket", json.dumps(about))

    def read_ticket(self, ticket: str, now: float) -> tuple[User, str] | None:
        """Whose sign-in to which server it is; `None` if it is not a ticket, or over."""
        text = self._tickets.unseal("ticket", ticket)
        about: dict[str, Any] = json.loads(text) if text is not None else {}
        if not about or now > about["until"]:
            return None
        return User(about["subject"], about["issuer"]), about["server"]
