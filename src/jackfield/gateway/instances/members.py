"""`Members`: the instances of a gateway, each with a few figures, for the page of any of them.

Each instance says to all how it does, every two seconds. Nothing of it is stored: an instance that is silent is not
shown any more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import anyio

from ...plain import as_table, parsed_json
from ..other_instances import InstanceFigures, Member
from .talk import Talk

SAY_SECONDS = 2.0
SILENT_SECONDS = 7.0
"""An instance of which nothing was heard for so long is not shown: it has ended, or cannot be heard."""

_TOPIC = "figures"
_MOST_SERVERS = 50
"""So many servers are named that an instance owns sessions with; those with the most."""


class Members:
    """What the instances say of themselves.

    Args:
        talk: Reaches the others.
        here: What this instance says of itself.
    """

    def __init__(self, talk: Talk, here: Callable[[], Member]) -> None:
        self._talk = talk
        self._here = here
        self._heard: dict[str, tuple[float, Member]] = {}
        talk.hears[_TOPIC] = self._hear

    async def say(self) -> None:
        """Say how this instance does, until cancelled."""
        while True:
            here = self._here()
            most = sorted(here.owns.items(), key=lambda owned: -owned[1])[:_MOST_SERVERS]
            figures = None if here.figures is None else vars(here.figures)
            await self._talk.tell_all(_TOPIC, json.dumps({"url": here.url, "owns": dict(most), "figures": figures}))
            await anyio.sleep(SAY_SECONDS)

    async def _hear(self, instance: str, text: str) -> None:
        said = as_table(parsed_json(text))
        figures = {name: _number(value) for name, value in as_table(said.get("figures")).items()}
        owns = {server: _number(count) for server, count in as_table(said.get("owns")).items()}
        url = said.get("url")
        known = {name: figures.get(name, 0) for name in InstanceFigures.__annotations__}
        member = Member(instance, url if isinstance(url, str) else None, False, owns, InstanceFigures(**known))
        self._heard[instance] = time.monotonic(), member

    def all(self, silent: Mapping[str, Member]) -> list[Member]:
        """All instances, this one first.

        Args:
            silent: Those that are known of without having said anything; left out if they are silent since.
        """
        now = time.monotonic()
        fresh = {name: member for name, (at, member) in self._heard.items() if now - at < SILENT_SECONDS}
        others = {name: member for name, member in silent.items() if name not in self._heard} | fresh
        # Names are never used again.
        self._heard = {name: heard for name, heard in self._heard.items() if now - heard[0] < 600 * SILENT_SECONDS}
        here = self._here()
        return [here, *(others[name] for name in sorted(others) if name != here.name)]


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
