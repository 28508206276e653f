"""Which server, and what of it, a reference on the command line means: `SERVER.TOOL`, or one that is given there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, UnknownServerError, UnknownToolError
from ..names import did_you_mean, nearest, normal
from .ad_hoc_servers import AD_HOC_NAME, GivenOptions, GivenServer, is_python_file, missing_file
from .arguments import listing_age
from .exits import UsageError

if TYPE_CHECKING:
    from ..catalog.store import Catalog
    from ..catalog.tools import ToolEntry
    from ..config.endpoint import Endpoint
    from ..config.launch import Launch
    from ..config.outline import ServerOutline
    from ..config.servers import ServerConfig
    from .servers import Servers

HANDSHAKE_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MODERN_VERSIONS = ("2026-07-28",)
"""Of the protocol, which are spoken without the SDK."""

_SEPARATORS = (".", "/")
_TOOL_WORD = re.compile(r"[^\s=:(){}@-][^\s=:(){}]*")
"""What can be a tool's name behind its server's: no argument, no option."""


@dataclass
class Target:
    """A server, and what of it is meant."""

    server: ServerOutline
    """To look at."""
    name: str
    """Of a tool, a resource or a prompt, as it was given."""
    load_launch: Callable[[], Launch | None]
    """Returns how its program is started, if known before its whole configuration is read. Checks trust."""
    load_endpoint: Callable[[], Endpoint | None]
    """Returns where it is, if it is reached over HTTP, and likewise."""
    load_config: Callable[[], ServerConfig]
    """Gives what to start or reach it by. Checks trust."""
    tools: Sequence[ToolEntry] | None = None
    """What the catalog knows of the server; `None` where only the server can say."""
    listed_at: float | None = None
    """When that was listed, in seconds since the epoch."""
    is_configured: bool = True
    catalog: Catalog | None = None
    """What is known of a configured server, and where that is kept."""
    load_fields: Callable[[], tuple[Mapping[str, Any], str]] | None = None
    """Returns its entry for the daemon, and its source. Checks trust."""

    @property
    def server_name(self) -> str:
        """The server's name."""
        return self.server.server_name


def known_version(target: Target) -> str:
    """The protocol version that a server can be spoken to in; empty if it is for the library's session to find out."""
    if target.catalog is None or any(name.startswith("MCP_SESSION_") for name in os.environ):
        return ""
    entry = target.catalog.entry(target.server)
    version = "" if entry is None or entry.failure is not None else entry.known_version
    return version if version in HANDSHAKE_VERSIONS + MODERN_VERSIONS else ""


def given_target(given: GivenServer, name: str) -> Target:
    """A server that is given on the command line, and what of it is meant."""
    from ..catalog.store import Catalog

    return Target(
        given.outline(os.environ),
        name,
        lambda: given.launch(os.environ),
        lambda: given.endpoint(os.environ),
        lambda: given.config(os.environ),
        catalog=Catalog(),
        is_configured=given.name != AD_HOC_NAME,
    )


def called(
    load_servers: Callable[[], Servers], reference: str | None, words: Sequence[str], options: GivenOptions
) -> tuple[Target, list[str]]:
    """The tool that a command line calls, and the words that are left for its arguments.

    Args:
        load_servers: Gives the configured servers.
        reference: `SERVER.TOOL`, or `SERVER` with the tool's name in the next word; only the tool's name with options
            that give the server.
        words: The words after it.
        options: Those that give a server.

    Raises:
        UsageError: No tool is named.
        UnknownServerError: The reference begins with no server's name; the hint has the nearest.
        ConfigError: The server's entry is wrong.
    """
    if (given := options.server_of(reference if options.named == [] else None)) is not None:
        name, rest = (reference, list(words)) if options.named else _next_word(words)
        if not name:
            source = given.name if given.name != AD_HOC_NAME else f"{given.option} ..." if options.named else reference
            raise UsageError("Missing argument 'TOOL'.", hint=f"To see its tools: jackfield list {source}")
        return given_target(given, _own_name(name)), rest
    if reference is None:
        raise UsageError("Missing argument 'SERVER.TOOL'.", hint="To see all servers: jackfield list")
    if (of_file := _split_file(reference)) is not None:
        return given_target(of_file[0], of_file[1]), list(words)
    servers = load_servers()
    server, tool = _split(servers, reference)
    rest = list(words)
    if not tool:
        tool, rest = _next_word(words)
    return _tool_target(servers, server, tool, reference), rest


def named(load_servers: Callable[[], Servers], words: Sequence[str], options: GivenOptions) -> tuple[Target, list[str]]:
    """The resource or prompt that a command line names, `SERVER NAME` or `SERVER.NAME`, and the words that are left.

    Without a server's name if options give the server; `any` may stand for it. The target's name is empty if only the
    server is named.

    Raises:
        UsageError: No server is named.
        UnknownServerError: There is none of that name; the hint has the nearest.
        ConfigError: The server's entry is wrong.
    """
    if options.named:
        # `any` stands for the server, unless it is the resource or prompt itself.
        rest = list(words[1:] if words[:1] == [AD_HOC_NAME] and _is_name(words[1:2]) else words)
    else:
        rest = list(words[1:])
    name = rest.pop(0) if _is_name(rest[:1]) else ""
    given = options.server_of(words[0] if words and not options.named else None)
    if given is not None:
        return given_target(given, name), rest
    if not words:
        raise UsageError("Missing argument 'SERVER'.", hint="To see all servers: jackfield list")
    servers = load_servers()
    if _same_name(servers.names, words[0]) is None and words[0].startswith(
        tuple(f"{server}{separator}" for server in servers.names for separator in _SEPARATORS)
    ):
        # As `call` takes it.
        server, name = _split(servers, words[0])
        return server_target(servers, server, name), list(words[1:])
    return server_target(servers, words[0], name), rest


def _is_name(words: Sequence[str]) -> bool:
    """Whether the first of the words can be what is named, and is not an argument of a prompt."""
    return bool(words) and ("://" in words[0] or ("=" not in words[0] and not words[0].startswith("-")))


def _next_word(words: Sequence[str]) -> tuple[str, list[str]]:
    """The tool that the first of the words names, if it does, and the others."""
    if words and _TOOL_WORD.fullmatch(words[0]):
        return words[0], list(words[1:])
    return "", list(words)


def _split_file(reference: str) -> tuple[GivenServer, str] | None:
    """The server of `server.py.TOOL`, and the tool."""
    file, ending, tool = reference.partition(".py.")
    given = GivenOptions().server_of(f"{file}.py") if ending and tool and is_python_file(f"{file}.py") else None
    return None if given is None else (given, tool)


def _own_name(reference: str) -> str:
    """A tool of a server that an option gives: just its name, or `any.` before it."""
    for separator in _SEPARATORS:
        reference = reference.removeprefix(f"{AD_HOC_NAME}{separator}")
    return reference


def _tool_target(servers: Servers, server: str, tool: str, reference: str) -> Target:
    """A tool of a configured server, named as given.

    Raises:
        UsageError: No tool is named.
        ConfigError: The server's entry is wrong.
    """
    outline = servers.outline(server)
    if not tool:
        names = [entry.reference for entry in servers.catalog.tools(outline)]
        hint = (
            f"Its tools: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}."
            if names
            else f"To see its tools: jackfield list {server}"
        )
        raise UsageError(f"{reference!r} names a server but no tool: write {server}.TOOL.", hint=hint)
    target = _configured(servers, server, tool)
    entry = servers.catalog.entry(outline)
    if entry is not None and entry.fetched_at and not entry.is_outdated:
        target.tools, target.listed_at = servers.catalog.tools(outline), entry.fetched_at
    return target


def server_target(servers: Servers, server: str, name: str) -> Target:
    """A server by its name, and what of it is meant.

    Raises:
        UnknownServerError: There is none of that name; the hint has the nearest.
        ConfigError: The server's entry is wrong.
    """
    known = _same_name(servers.names, server) or server
    return _configured(servers, known, name)


def _configured(servers: Servers, server: str, name: str) -> Target:
    return Target(
        servers.outline(server),
        name,
        lambda: servers.launch(server),
        lambda: servers.endpoint(server),
        lambda: servers.config(server),
        catalog=servers.catalog,
        load_fields=lambda: servers.fields(server),
    )


def _split(servers: Servers, reference: str) -> tuple[str, str]:
    """The server's name, and the rest. Names are taken exactly, else by case and separators."""
    names = servers.names
    for name in sorted(names, key=len, reverse=True):
        if reference == name:
            return name, ""
        if reference.startswith(tuple(f"{name}{separator}" for separator in _SEPARATORS)):
            return name, reference[len(name) + 1 :]
    for position in (at for at, char in enumerate(reference) if char in _SEPARATORS):
        if (same := _same_name(names, reference[:position])) is not None:
            return same, reference[position + 1 :]
    if (same := _same_name(names, reference)) is not None:
        return same, ""
    raise _no_server(servers, reference)


def _same_name(names: Sequence[str], wanted: str) -> str | None:
    """The one server whose name is the same but for case and separators."""
    if wanted in names:
        return wanted
    same = [name for name in names if normal(name) == normal(wanted)]
    return same[0] if len(same) == 1 and normal(wanted) else None


def _no_server(servers: Servers, reference: str) -> Exception:
    names = servers.names
    if (error := missing_file(reference)) is not None:
        return error
    if not names:
        return ConfigError(
            f"There is no server for {reference!r}: none is configured.", hint="See: jackfield config path"
        )
    head = reference
    for separator in _SEPARATORS:
        head = head.partition(separator)[0]
    if head != reference:
        hint = did_you_mean(head, names, "server")
        return UnknownServerError(f"There is no server {head!r}.", server_name=head, sent=False, hint=hint)
    known = [tool.reference for name in names for tool in _known_tools(servers, name)]
    close = [reference for reference in known if reference.rpartition(".")[2] == head] or nearest(head, known)
    close += [f"{name}.TOOL" for name in nearest(head, names) if not close]
    meant = f"Did you mean {' or '.join(close[:3])}?" if close else f"Look for it with: jackfield find {head}"
    return UnknownToolError(f"{reference!r} names no server: write SERVER.TOOL.", sent=False, hint=meant)


def _known_tools(servers: Servers, name: str) -> Sequence[ToolEntry]:
    try:
        return servers.catalog.tools(servers.outline(name))
    except ConfigError:
        return []


def find_tool(target: Target, tools: Sequence[ToolEntry], *, is_fresh: bool = False) -> ToolEntry:
    """The tool that is meant: by its exact name, else by case and separators; never by a guess.

    Raises:
        UnknownToolError: There is none, or more than one; the hint has the nearest names.
    """
    from ..routing.references import References

    exact = next((tool for tool in tools if tool.name == target.name), None)
    if exact is not None:
        return exact
    if not tools:
        raise UnknownToolError(
            f"Server {target.server_name!r} offers no tools.", server_name=target.server_name, sent=False
        )
    age = "" if is_fresh else listing_age(target.server_name, target.listed_at)
    advice = f"To see its tools: jackfield list {target.server_name}{age}"
    if not target.is_configured:
        advice = did_you_mean(target.name, [tool.name for tool in tools], "tool")
    references = References(tools, [target.server_name], advice=advice)
    try:
        return references.tool(f"{target.server_name}.{target.name}")
    except UnknownToolError as error:
        if age and error.hint and age not in error.hint:
            raise error.told(hint=error.hint + age) from None
        raise
