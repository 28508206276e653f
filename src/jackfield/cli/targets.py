"""Which server, and what of it, a reference on the command line means: `SERVER.TOOL`, or a server given ad hoc."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, UnknownServerError, UnknownToolError, did_you_mean, nearest, normal
from .arguments import listing_age
from .exits import UsageError

if TYPE_CHECKING:
    from ..catalog.search import ToolEntry
    from ..config.launch import Launch
    from ..config.outline import ServerOutline
    from ..config.servers import ServerConfig
    from .servers import Servers

AD_HOC_NAME = "any"
"""Name of a server that is given on the command line."""

_SEPARATORS = (".", "/")

StdioOption = Annotated[
    str | None, typer.Option("--stdio", metavar="COMMAND", help="Use the server that this command starts.")
]
HttpOption = Annotated[
    str | None, typer.Option("--http", metavar="URL", help="Use the server at this URL, over Streamable HTTP.")
]
SseOption = Annotated[str | None, typer.Option("--sse", metavar="URL", help="Use the server at this URL, over SSE.")]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="'NAME: VALUE'", help="With --http or --sse: send this header; ${VAR} works."),
]


@dataclass
class Target:
    """A server, and what of it is meant."""

    server: ServerOutline
    """To look at."""
    name: str
    """Of a tool, a resource or a prompt, as it was given."""
    load_launch: Callable[[], Launch | None]
    """Returns how its program is started, if known before its whole configuration is read. Checks trust."""
    load_config: Callable[[], ServerConfig]
    """Gives what to start or reach it by. Checks trust."""
    tools: Sequence[ToolEntry] | None = None
    """What the catalog knows of the server; `None` where only the server can say."""
    listed_at: float | None = None
    """When that was listed, in seconds since the epoch."""
    is_configured: bool = True
    load_fields: Callable[[], tuple[Mapping[str, Any], str]] | None = None
    """Returns its entry for the daemon, and its source. Checks trust."""

    @property
    def server_name(self) -> str:
        """The server's name."""
        return self.server.server_name


def ad_hoc_target(
    name: str, stdio: str | None, http: str | None, sse: str | None, headers: Sequence[str] = ()
) -> Target | None:
    """The server that is given on the command line, if any.

    Raises:
        UsageError: More than one is given, or the option is invalid.
    """
    given = [option for option, value in (("--stdio", stdio), ("--http", http), ("--sse", sse)) if value is not None]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} cannot be given together: they name two servers.")
    if headers and (stdio is not None or not given):
        raise UsageError(
            "--header goes with --http or --sse.", hint="For a configured server, write headers into its entry."
        )
    if not given:
        return None
    if stdio is not None:
        return command_target(stdio, name)
    return address_target(http or sse or "", name, headers, transport=given[0].removeprefix("--"), source=given[0])


def command_target(line: str, name: str = "", *, source: str = "--stdio") -> Target:
    """The server that a command starts.

    Args:
        line: As for a shell.
        name: What of the server is meant.
        source: Where the line was given, for errors.

    Raises:
        UsageError: It is no command line.
    """
    import shlex

    from ..config.launch import Launch
    from ..config.outline import ServerOutline, stdio_address

    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{source}: {str(error).lower()} in {line!r}.", hint="Quote it as for a shell.") from None
    if not words:
        raise UsageError(f"{source}: there is no command in it.", hint=f"Write {source} 'python3 server.py'.")
    command, *args = words

    def config() -> ServerConfig:
        from ..config.servers import StdioConfig

        # As if it had been typed into the shell, which also hands on all variables.
        return StdioConfig(server_name=AD_HOC_NAME, command=command, args=list(args), inherit_environment=True)

    outline = ServerOutline(AD_HOC_NAME, "stdio", stdio_address(command, args), "")
    launch = Launch(AD_HOC_NAME, command, tuple(args), inherit_environment=True)
    return Target(outline, name, lambda: launch, config, is_configured=False)


def address_target(
    url: str, name: str = "", headers: Sequence[str] = (), *, transport: str = "http", source: str = "--http"
) -> Target:
    """The server at a URL.

    Args:
        url: Of the server.
        name: What of the server is meant.
        headers: Sent with every request, as `NAME: VALUE`.
        transport: `http` or `sse`.
        source: Where the URL was given, for errors.

    Raises:
        UsageError: It is no such URL.
    """
    from ..config.mcp_config import MCPConfig
    from ..config.servers import outline_of_config

    entry = {"url": url, "transport": transport, "headers": _headers(headers)}
    try:
        config = MCPConfig.from_dict({"servers": {AD_HOC_NAME: entry}}, source=source)[AD_HOC_NAME]
    except ConfigError as error:
        at = "" if error.key in ("", "url") else f"key {error.key!r}: "
        raise UsageError(f"{source}: {at}{error.problem or error.message}", hint=error.hint) from None
    return Target(outline_of_config(config), name, lambda: None, lambda: config, is_configured=False)


def _headers(headers: Sequence[str]) -> dict[str, Any]:
    split: dict[str, Any] = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            # Its text may be a secret.
            raise UsageError("--header: it has no colon.", hint="Write --header 'Authorization: Bearer ${TOKEN}'.")
        split[name.strip()] = value.strip()
    return split


def ad_hoc_tool(reference: str) -> str:
    """A tool of a server that is given on the command line: just its name, or `any.` before it."""
    for separator in _SEPARATORS:
        reference = reference.removeprefix(f"{AD_HOC_NAME}{separator}")
    return reference


def tool_target(servers: Servers, reference: str) -> Target:
    """The server of a tool, and the tool's name as given.

    Raises:
        UnknownServerError: The reference begins with no server's name; the hint has the nearest.
        UsageError: It names a server and no tool.
        ConfigError: The server's entry is wrong.
    """
    server, tool = _split(servers, reference)
    outline = servers.outline(server)
    if not tool:
        names = [entry.reference for entry in servers.catalog.tools(outline)]
        hint = (
            f"Its tools: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}."
            if names
            else f"To see its tools: jackfield list {server}"
        )
        raise UsageError(f"{reference!r} names a server and no tool: write {server}.TOOL.", hint=hint)
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
        lambda: servers.config(server),
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
