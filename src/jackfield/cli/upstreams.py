"""What `jackfield serve` serves: configured servers by name, or one server that is configured nowhere.

The latter is given as a URL or as a command line, and makes the command a bridge between transports. What an argument
means never depends on what is configured, but for one with a space, which a server's name may have, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConfigError, JackfieldError
from .ad_hoc_servers import address_server, command_server
from .exits import UsageError

if TYPE_CHECKING:
    from ..config.servers import ServerConfig
    from .invocation import Invocation

_QUOTED = "Put the command and its arguments in quotes: --http 8000 --stdio 'python3 server.py'."


@dataclass(frozen=True)
class Upstreams:
    """The servers to serve."""

    configs: Sequence[ServerConfig]
    is_bridge: bool = False
    """One that is configured nowhere."""


def upstreams(
    invocation: Invocation, given: Sequence[str], *, is_command: bool, sse: str | None, headers: Sequence[str]
) -> Upstreams:
    """What the arguments name. Starts nothing.

    Args:
        invocation: Knows the configured servers.
        given: Names, or a URL, or a command line; all configured servers if empty.
        is_command: It is a command line.
        sse: The URL of a server over SSE.
        headers: Sent with every request to a URL.

    Raises:
        UsageError: They do not go together.
        JackfieldError: A server that was named does not exist, or may not be used.
    """
    is_address = sse is not None or (not is_command and any("://" in argument for argument in given))
    if headers and not is_address:
        raise UsageError(
            "--header requires the URL of a server.", hint="For a configured server, set headers in its entry."
        )
    if is_command:
        return _bridge_to_command(invocation, given, sse)
    if sse is not None:
        if given:
            raise UsageError(f"--sse and {given[0]!r} cannot be given together: each names a server.")
        return Upstreams([address_server(sse, headers, transport="sse", source="--sse").config(os.environ)], True)
    if is_address:
        if len(given) > 1:
            raise UsageError(
                "A URL cannot be served together with other servers.", hint="To serve several servers, configure them."
            )
        return Upstreams([address_server(given[0], headers, source="The URL").config(os.environ)], True)
    if len(given) == 1 and _has_space(given[0]) and given[0] not in invocation.servers.names:
        return Upstreams([command_server(given[0], source="The command").config(os.environ)], True)
    return Upstreams(_configured(invocation, given))


def _bridge_to_command(invocation: Invocation, given: Sequence[str], sse: str | None) -> Upstreams:
    if sse is not None:
        raise UsageError("--sse and --stdio cannot be given together: each names a server.")
    if len(given) != 1:
        what = "no command" if not given else f"{len(given)} arguments"
        raise UsageError(f"--http with --stdio serves the server that a command starts, but got {what}.", hint=_QUOTED)
    [line] = given
    if not _has_space(line) and line in invocation.servers.names:
        raise UsageError(
            f"--http with --stdio serves the server that a command starts, but {line!r} is a configured server.",
            hint=f"To serve that one over HTTP, leave out --stdio. To start a command of that name: './{line}'.",
        )
    return Upstreams([command_server(line).config(os.environ)], True)


def _has_space(argument: str) -> bool:
    return len(argument.split()) > 1


def _configured(invocation: Invocation, names: Sequence[str]) -> list[ServerConfig]:
    """The servers to serve; unusable servers are skipped unless they were named."""
    servers, output = invocation.servers, invocation.output
    if names:
        return [servers.config(name) for name in dict.fromkeys(names)]
    configs: list[ServerConfig] = []
    last: JackfieldError | None = None
    for name in servers.names:
        try:
            config = servers.config(name)
            if is_gateway(config):
                output.detail(f"Left out: {name!r} is this gateway.")
                continue
            configs.append(config)
        except JackfieldError as error:
            last = error
            output.warn(f"Left out: {error.message}")
    if not configs:
        raise last or ConfigError(
            "No server is configured.",
            hint="See where Jackfield looks: jackfield config path. Or give one: jackfield serve --help",
        )
    return configs


def is_gateway(config: ServerConfig) -> bool:
    """Whether a server is `jackfield serve` itself, which `jackfield install` writes into files that are read here."""
    if config.transport != "stdio" or "serve" not in config.args:
        return False
    return os.path.basename(config.command).partition(".")[0] == "jackfield" or config.args[:2] == ["-m", "jackfield"]
