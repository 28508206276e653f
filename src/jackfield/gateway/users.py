"""`User`: somebody who uses a gateway, whichever program they use it with."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from ..serving import Principal


@dataclass(frozen=True)
class User:
    """Somebody, whichever program they use."""

    subject: str
    issuer: str | None = None

    @property
    def digest(self) -> str:
        """Another one for each user: for keys and names of files."""
        return blake2b(f"{self.issuer or ''}\n{self.subject}".encode(), digest_size=16).hexdigest()


def user_of(principal: Principal | None) -> User | None:
    """The user of a token; `None` if it names none."""
    if principal is None or not principal.subject:
        return None
    return User(principal.subject, principal.issuer)
