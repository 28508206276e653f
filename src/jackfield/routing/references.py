"""Finds the tool that a reference names: exactly, else by case and separators; never by a guess."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..catalog.tools import ToolEntry
from ..errors import UnknownServerError, UnknownToolError
from ..names import did_you_mean, nearest, normal

_SEPARATORS = (".", "/", "__")


class References:
    """The tools that can be named, and how.

    Args:
        tools: All of them.
        server_names: All servers, including those whose tools are unknown.
        advice: The hint if no tool has a similar name.
    """

    def __init__(
        self,
        tools: Iterable[ToolEntry],
        server_names: Sequence[str],
        *,
        advice: str = "Look for it with find_tools.",
    ) -> None:
        self._server_names = list(server_names)
        self._advice = advice
        self._exact: dict[str, list[ToolEntry]] = {}
        self._normal: dict[str, list[ToolEntry]] = {}
        for tool in tools:
            for form in {tool.reference, f"{tool.server_name}/{tool.name}", tool.name}:
                self._exact.setdefault(form, []).append(tool)
            for form in {normal(tool.reference), normal(tool.name)}:
                self._normal.setdefault(form, []).append(tool)

    def tool(self, reference: str) -> ToolEntry:
        """The one tool of that name.

        Raises:
            UnknownToolError: There is none, or more than one; the hint says what to write.
        """
        found = self._exact.get(reference) or self._normal.get(normal(reference), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownToolError(
                f"{reference!r} is the name of {len(found)} tools. Nothing was sent.",
                sent=False,
                hint=f"Name one: {', '.join(tool.reference for tool in found[:6])}.",
                candidates=[tool.reference for tool in found],
            )
        server = self.server_of(reference)
        tools = [tool for tools in self._exact.values() for tool in tools if server in (None, tool.server_name)]
        # What all begin with makes none of them more alike.
        own = reference if server is None else _own_name(reference, server)
        known = {tool.reference if server is None else tool.name: tool.reference for tool in tools}
        close = [known[name] for name in nearest(own, known)]
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else None
        raise UnknownToolError(
            f"There is no tool {reference!r}. Nothing was sent.",
            server_name=server,
            sent=False,
            hint=hint or self._advice,
        )

    def server(self, name: str) -> str:
        """The server of that name.

        Raises:
            UnknownServerError: There is none; the hint has the nearest.
        """
        for form in (str, normal):
            for server in self._server_names:
                if form(server) == form(name):
                    return server
        raise UnknownServerError(
            f"There is no server {name!r}.",
            server_name=name,
            sent=False,
            hint=did_you_mean(name, self._server_names, "server"),
        )

    def server_of(self, reference: str) -> str | None:
        """The server that a reference begins with, if it names one."""
        for separator in _SEPARATORS:
            head, found, _ = reference.partition(separator)
            if found:
                for server in self._server_names:
                    if normal(server) == normal(head):
                        return server
        return next((server for server in self._server_names if reference.startswith(f"{server}.")), None)


def _own_name(reference: str, server: str) -> str:
    """What a reference says after its server's name."""
    for separator in _SEPARATORS:
        head, found, rest = reference.partition(separator)
        if found and normal(head) == normal(server):
            return rest
    return reference.removeprefix(f"{server}.")
