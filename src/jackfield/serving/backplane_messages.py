"""What instances tell each other over the backplane."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Answered:
    """A client posted the answer to a request of the server."""

    kind: ClassVar[str] = "answered"
    session_id: str
    request_id: str
    answer: dict[str, Any]


@dataclass(frozen=True)
class Progressed:
    """A client posted progress of a request of the server."""

    kind: ClassVar[str] = "progressed"
    session_id: str
    request_id: str
    progress: float
    total: float | None
    message: str | None


@dataclass(frozen=True)
class Cancelled:
    """A client cancelled a call."""

    kind: ClassVar[str] = "cancelled"
    session_id: str
    stream: str


@dataclass(frozen=True)
class Detached:
    """A reader of a standalone stream is to end: another has taken over, or a handler wants the client to reconnect."""

    kind: ClassVar[str] = "detached"
    session_id: str
    reader: str


@dataclass(frozen=True)
class Ended:
    """A session was ended, and with it all that runs in it."""

    kind: ClassVar[str] = "ended"
    session_id: str


@dataclass(frozen=True)
class Published:
    """A server published a change, of its tools for instance, on one instance."""

    kind: ClassVar[str] = "published"
    instance: str
    event: str
    uri: str | None = None
    about: str | None = None
    """What the application says that the change is of."""


@dataclass(frozen=True)
class Buried:
    """An instance is dead, and what it ran is answered."""

    kind: ClassVar[str] = "buried"
    instance: str


@dataclass(frozen=True)
class ShareWanted:
    """An instance has no room under a user's bound: others are to give back what they do not use of it."""

    kind: ClassVar[str] = "share_wanted"
    instance: str
    bound: str
    user: str


@dataclass(frozen=True)
class Said:
    """An application told another instance of itself something."""

    kind: ClassVar[str] = "said"
    instance: str
    topic: str
    text: str


Message = Answered | Progressed | Cancelled | Detached | Ended | Published | Buried | ShareWanted | Said
_KINDS: dict[str, type[Message]] = {
    one.kind: one for one in (Answered, Progressed, Cancelled, Detached, Ended, Published, Buried, ShareWanted, Said)
}


def encoded(message: Message) -> str:
    """As text for the backplane."""
    return json.dumps({"kind": message.kind, **asdict(message)}, separators=(",", ":"))


def decoded(text: str) -> Message | None:
    """From that text; `None` for what this version does not know."""
    try:
        read = json.loads(text)
        return _KINDS[read.pop("kind")](**read)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
