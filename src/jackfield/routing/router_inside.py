"""`RouterInside`: what Jackfield's own layers need of a router, beyond what programs use."""

# It is a part of the router.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..catalog.tools import ToolEntry
from ..config.servers import BaseServerConfig
from ..loops import Deadline
from ..pool.registry import SessionUser
from ..session.tools import ArgumentCheck
from ..toolkit.tool import CallOptions
from .lookup import Lookup
from .repair import converted, repaired_call
from .searches import RecentSearches

if TYPE_CHECKING:
    from .tool_router import ToolRouter


@dataclass(frozen=True)
class RoutedCall:
    """A call of one server's tool, made of a call of `call_tool`."""

    config: BaseServerConfig
    tool: ToolEntry
    arguments: Mapping[str, Any]
    notes: Sequence[str]
    """What was corrected, for the model."""
    deadline: Deadline


class RouterInside:
    """What Jackfield's own layers need of a router: its calls before they are made, and itself for another user.

    Args:
        router: The router.
    """

    __slots__ = ("_router",)

    def __init__(self, router: ToolRouter) -> None:
        self._router = router

    @property
    def guards(self) -> list[str]:
        """The names of the functions that calls are asked for."""
        return [
            name
            for name, given in (("policy", self._router._policy), ("on_ask", self._router._on_ask))
            if given is not None
        ]

    def used_by(self, user: SessionUser, key: str) -> ToolRouter:
        """The same, guards and all, for another user and other sessions."""
        router = copy(self._router)
        router.key, router._user = key, user
        router._searches = RecentSearches()
        router._lookup = Lookup(
            self._router._manager,
            self._router._configs,
            key,
            user,
            self._router._callbacks,
            self._router._offers,
            self._router._catalog,
        )
        return router

    def learn(self, reference: str) -> None:
        """Remember that a tool was called successfully: it serves the searches that led to it."""
        self._router._catalog.learned.learn(self._router._searches.led_to(reference), reference)

    async def route(
        self, tool: str, arguments: Any, beside: Mapping[str, Any], options: CallOptions | None = None
    ) -> RoutedCall:
        """The call that `call_tool` makes, allowed by the policy; see there. A server that was never listed is asked.

        Raises:
            JackfieldError: As `call_tool`; the tool was not called.
        """
        options = options or CallOptions()
        if not tool:
            tool, _, _ = repaired_call(tool, arguments, beside, frozenset())
        entry = await self._router._lookup.tool(tool, options)
        # What looks like a nested call may be what this tool takes.
        own = frozenset(entry.input_schema.get("properties") or ())
        tool, values, notes = repaired_call(tool, arguments, beside, own)
        values, more = converted(values, entry.input_schema)
        config = self._router._configs[entry.server_name]
        mode = config.session.check_arguments
        values = ArgumentCheck(entry.server_name, entry.reference, entry.input_schema, mode).check(values)
        deadline = options.deadline(config.session.call_timeout)
        await self._router._require_allowed(entry, values, deadline)
        return RoutedCall(config, entry, values, [*notes, *more], deadline)
