"""`Invocation`: what every command is given, from the options that all of them share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .output import Output

if TYPE_CHECKING:
    import typer

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

    @cached_property
    def servers(self) -> Servers:
        """The servers there are; warns of files that cannot be read.

        Raises:
            ConfigError: A file given by `--config` cannot be read.
        """
        from .servers import load_servers

        return load_servers(self.config_files, self.output)
