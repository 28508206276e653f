"""Session owners by themselves, with servers that say what a test has them say."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import anyio
from tests.conftest import MARK, TOKEN

from jackfield import Event, JackfieldError, ServerConfig, SessionCallbacks, SessionConfig, StdioConfig
from jackfield.catalog.entry import RawListing
from jackfield.events import EventHub
from jackfield.session.conflicts import ConflictingSessions, Refused
from jackfield.session.lifecycle import State
from jackfield.session.owner import SessionOwner
from jackfield.session.recovery import Circuits
from jackfield.session.statistics import Totals
from jackfield.session.tools import ToolListing

SCRIPTED = """
import json, sys
turns = json.loads(sys.argv[1])
def say(message, request):
    text = json.dumps({"jsonrpc": "2.0", **message}).replace('"$id"', json.dumps(request.get("id")))
    print(text, flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if sys.argv[2:]:
        print(request["method"], file=open(sys.argv[2], "a"), flush=True)
    own = turns.get(request["method"], [{"error": {"code": -32601, "message": "not here"}}])
    turn = own.pop(0) if len(own) > 1 else own[0]
    for message in turn.get("first", []):
        say(message, request)
    if "id" in request and "wait" not in turn:
        say({"id": "$id", **{key: turn[key] for key in turn if key != "first"}}, request)
"""
"""Says for each method, turn by turn, what it was told to say."""

INFO: dict[str, Any] = {"serverInfo": {"name": "rig", "version": "1"}, "capabilities": {"tools": {}, "logging": {}}}
HANDSHAKE: dict[str, Any] = {"initialize": [{"result": {"protocolVersion": "2025-11-25", **INFO}}]}

QUICK: dict[str, Any] = {
    "timeout": 20,
    "close_timeout": 1,
    "retry_attempts": 1,
    "retry_delay": 0.001,
    "max_retry_delay": 0.01,
}


class Watched:
    """An owner, and all that it tells."""

    def __init__(
        self,
        config: ServerConfig,
        callbacks: SessionCallbacks | None = None,
        key: str | None = None,
        end_others: Callable[[Refused], Awaitable[int]] | None = None,
    ) -> None:
        self.seen: list[Event] = []
        self.is_started = False
        self.may_expire = True
        self.on_failed: Callable[[], None] = lambda: None
        self.on_change: Callable[[], Any] = lambda: anyio.sleep(0)
        self.owner = SessionOwner(
            config,
            key,
            callbacks or SessionCallbacks(),
            events=EventHub(self.seen.append),
            totals=Totals(),
            circuits=Circuits(),
            conflicts=ConflictingSessions(end_others or self.no_idle_ones),
            observer=self,
            generation=0,
            may_expire=lambda: self.may_expire,
            on_change=lambda: None,
        )

    async def no_idle_ones(self, refused: Refused) -> int:
        """As `ConflictingSessions` asks for it."""
        return 0

    def known_version(self, owner: SessionOwner) -> str:
        """As `SessionObserver` has it."""
        return ""

    def negotiated(self, owner: SessionOwner) -> None:
        """As `SessionObserver` has it."""

    def listed(self, owner: SessionOwner, listing: ToolListing) -> None:
        """As `SessionObserver` has it."""

    def offers(self, owner: SessionOwner, kind: str, listing: RawListing) -> None:
        """As `SessionObserver` has it."""

    def failed(self, owner: SessionOwner, error: JackfieldError) -> None:
        """As `SessionObserver` has it."""
        self.on_failed()

    async def listings_changed(self, owner: SessionOwner, kinds: Collection[str]) -> None:
        """As `SessionObserver` has it."""
        await self.on_change()

    def of_kind(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]

    async def opened(self) -> SessionOwner:
        """Start it and wait until it is open, or has failed to be."""
        self.is_started = True
        self.owner.start()
        await self.owner.lifecycle.until_not(State.OPENING)
        return self.owner

    async def closed(self) -> None:
        with anyio.fail_after(20):
            await self.owner.closed()


def scripted(folder: Path, says: dict[str, Any], *, modern: bool = False, **settings: Any) -> StdioConfig:
    """A server that says what it is told to; its program is `program` in a folder."""
    return StdioConfig(
        server_name="rig",
        command=str(folder / "program"),
        args=["-S", "-E", "-c", SCRIPTED, json.dumps(says), str(folder / "asked")],
        environment={MARK: TOKEN},  # type: ignore[dict-item]
        protocol="auto" if modern else "handshake",
        session=SessionConfig(**{**QUICK, **settings}),
    )


def kill(owner: SessionOwner) -> None:
    os.kill(owner.info().process_id or 0, signal.SIGKILL)
