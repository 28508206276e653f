"""Detects tools of the same name in two workbenches of one agent.

AgentChat 0.7.5 shows both to the model and calls the first: the second can never be called. It lists the tools of
an agent's workbenches in succession, in one frame of its own code, which is how a workbench learns of
the others.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import FrameType

logger: logging.Logger = logging.getLogger("jackfield")

_SHOWN = 5


@dataclass
class Listing:
    """The tools of one workbench, as an agent has them listed."""

    owner: str
    """The workbench, in words."""
    frame: FrameType | None
    earlier: list[Listing]
    """The workbenches that the same agent listed immediately before."""
    names: set[str] = field(default_factory=set[str])


class _Last:
    listing: Listing | None = None


def begin_listing(owner: str) -> Listing:
    """Called by `list_tools` when it begins, in its own frame."""
    caller = sys._getframe(1).f_back  # pyright: ignore[reportPrivateUsage]
    is_agent = caller is not None and str(caller.f_globals.get("__name__", "")).startswith("autogen_agentchat.")
    last = _Last.listing
    if not is_agent:
        return Listing(owner, None, [])
    earlier = [*last.earlier, last] if last is not None and last.frame is caller else []
    return Listing(owner, caller, earlier)


def end_listing(listing: Listing, names: Iterable[str], warned: set[tuple[str, frozenset[str]]]) -> None:
    """Called by `list_tools` when it ends; warns of names that another workbench of the agent has, too.

    Args:
        listing: What `begin_listing` gave.
        names: Of the tools.
        warned: What the workbench was warned of before.
    """
    if listing.frame is None:
        return
    listing.names = set(names)
    for other in listing.earlier:
        common = frozenset(listing.names & other.names)
        if not common or other.owner == listing.owner or (other.owner, common) in warned:
            continue
        warned.add((other.owner, common))
        named = ", ".join(sorted(common)[:_SHOWN]) + (f", ... ({len(common)} in all)" if len(common) > _SHOWN else "")
        logger.warning(
            "[MCP] Two workbenches of one agent have tools of the same name: %s. AutoGen calls those of %s, and never "
            "those of %s. Give the agent one workbench with all servers, which makes names unique.",
            named,
            other.owner,
            listing.owner,
        )
    _Last.listing = listing

    def forget() -> None:
        if _Last.listing is listing:
            _Last.listing = None

    # What an agent lists after its model has answered is another round.
    asyncio.get_running_loop().call_soon(forget)
