"""`Servers`: the servers that a command may use, where each came from, and whether it may be started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.discover import Discovery, FoundServer, Source, discover, sources
from ..errors import ConfigError, UnknownServerError, did_you_mean
from .output import Output, shown_path

if TYPE_CHECKING:
    from ..catalog.store import Catalog
    from ..config.mcp_config import MCPConfig
    from ..config.servers import ServerConfig


@dataclass
class Servers:
    """The servers there are, by name; disabled ones count as not there."""

    discovery: Discovery

    @property
    def names(self) -> list[str]:
        """The servers' names, in the order found."""
        return [name for name, found in self.discovery.servers.items() if not found.is_disabled]

    def found(self, name: str) -> FoundServer:
        """Where a server stands.

        Raises:
            UnknownServerError: There is none of that name; the hint has the nearest.
            ConfigError: There are no servers at all.
        """
        names = self.names
        if name in names:
            return self.discovery.servers[name]
        if not names:
            raise ConfigError(
                f"There is no server {name!r}: none is configured.", server_name=name, hint="See: jackfield config path"
            )
        raise UnknownServerError(
            f"There is no server {name!r}.", server_name=name, sent=False, hint=did_you_mean(name, names, "server")
        )

    def peek(self, name: str) -> ServerConfig:
        """A server's configuration to look at: it may come from a file that is not trusted.

        Raises:
            UnknownServerError: There is none of that name.
            ConfigError: Its entry is wrong; names file, server and key.
        """
        from ..config.mcp_config import read_server

        found = self.found(name)
        return read_server(name, dict(found.entry), str(found.source.path), found.source.folder, os.environ)  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    def config(self, name: str) -> ServerConfig:
        """A server's configuration to start or reach it by.

        Raises:
            UnknownServerError: There is none of that name.
            ConfigError: Its entry is wrong; names file, server and key.
            NotTrustedError: It stands in a project's file, and the user has not accepted it.
        """
        return self.peek(name)

    def mcp_config(self, names: Sequence[str] | None = None) -> MCPConfig:
        """Some servers, or all, for a manager.

        Raises:
            UnknownServerError: There is none of that name.
            ConfigError: An entry is wrong; names file, server and key.
            NotTrustedError: One stands in a project's file, and the user has not accepted it.
        """
        from ..config.mcp_config import MCPConfig

        return MCPConfig(servers=[self.config(name) for name in (self.names if names is None else names)])

    @cached_property
    def catalog(self) -> Catalog:
        """What is remembered of what they offer."""
        from ..catalog.store import Catalog

        return Catalog()


def load_servers(config_files: Sequence[Path], output: Output) -> Servers:
    """Find the servers; warns of files that cannot be read.

    Args:
        config_files: Taken instead of what is discovered.
        output: Gets the warnings.

    Raises:
        ConfigError: One of `config_files` cannot be read.
    """
    given = [Source(path, "--config", "given", path.absolute().parent) for path in config_files]
    discovery = discover(given or sources(Path.cwd(), os.environ))
    for path, error in discovery.problems.items():
        if given:
            raise error
        output.warn(f"{error.message} (Left out: {shown_path(path)})")
    return Servers(discovery)
