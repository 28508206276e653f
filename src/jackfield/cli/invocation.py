"""`Invocation`: what every command is given, from the options that all of them share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .output import Output

if TYPE_CHECKING:
    import typer

    from .ad_hoc_servers import GivenOptions
    from .servers import Servers


@dataclass
class Invocation:
    """One run of the command."""

    output: Output
    config_files: list[Path] = field(default_factory=list[Path])
    """Files given by `--config`; used instead of discovered ones."""

    @classmethod
    def of(cls, context: typer.Context) -> Invocation:
        """The invocation in a command's context."""
        return cast("Invocation", context.obj)

    def at(self, server: str | None, options: GivenOptions) -> tuple[Invocation, str | None]:
        """The invocation with the server that is given on the command line, if one is; and the server's name.

        Args:
            server: The word for the server: a name, a Python file or a URL.
            options: Those that give a server.

        Raises:
            UsageError: Two servers are given, or it is not a server.
        """
        if server is not None and options.named:
            from .exits import UsageError

            raise UsageError(f"{server!r} and {options.named[0]} cannot be given together: each names a server.")
        given = options.server_of(server)
        if given is None:
            return self, server
        from .servers import Servers

        invocation = Invocation(self.output, self.config_files)
        invocation.servers = Servers(given.discovery(), self.output, is_given=True)
        return invocation, given.name

    @cached_property
    def servers(self) -> Servers:
        """The servers there are; warns of files that cannot be read.

        Raises:
            ConfigError: A file given by `--config` cannot be read.
        """
        from .servers import load_servers

        return load_servers(self.config_files, self.output)
