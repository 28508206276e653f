"""`Servers`: the servers that a command may use, where each came from, and whether it may be started."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.discover import Discovery, FoundServer, Source, discover, sources
from ..errors import ConfigError, UnknownServerError
from ..names import did_you_mean
from .ad_hoc_servers import missing_file
from .output import Output, current_folder, is_terminal, shown_path
from .trust_store import NotTrustedError, Trust, TrustStore

if TYPE_CHECKING:
    from ..catalog.store import Catalog
    from ..config.endpoint import Endpoint
    from ..config.launch import Launch
    from ..config.outline import ServerOutline
    from ..config.servers import ServerConfig


@dataclass
class Servers:
    """The servers there are, by name.

    `outline()` is to look at a server, and cheap. `config()` is to start or reach it by, and asks whether it is
    trusted; nothing may be started or reached but with what `config()` gave.
    """

    discovery: Discovery
    output: Output
    store: TrustStore = field(default_factory=TrustStore)
    is_given: bool = False
    """Whether it is one server, given on the command line: nothing is known of it, and nothing is kept."""
    _accepted_now: set[str] = field(default_factory=set[str])

    @property
    def names(self) -> list[str]:
        """The servers' names, in the order found."""
        return list(self.discovery.servers)

    def found(self, name: str) -> FoundServer:
        """The entry of a server.

        Raises:
            UnknownServerError: There is none of that name; the hint has the nearest.
            ConfigError: There are no servers at all.
        """
        if name in self.discovery.servers:
            return self.discovery.servers[name]
        names = self.names
        if (error := missing_file(name)) is not None:
            raise error
        disabled = next((one for one in self.discovery.disabled if one.name == name), None)
        problem = next(iter(self.discovery.problems.values()), None)
        if disabled is not None:
            file = shown_path(disabled.off_in or disabled.source.path)
            raise UnknownServerError(
                f"The server {name!r} is disabled in {file}.", server_name=name, sent=False, hint="Enable it there."
            )
        if not names:
            raise ConfigError(
                f"There is no server {name!r}: none is configured.",
                server_name=name,
                hint=problem.message if problem else "See where Jackfield looks: jackfield config path",
            )
        hint = did_you_mean(name, names, "server")
        raise UnknownServerError(f"There is no server {name!r}.", server_name=name, sent=False, hint=hint)

    def outline(self, name: str) -> ServerOutline:
        """The outline of a server, for display: it may come from an untrusted file, and a variable may be unset.

        Raises:
            UnknownServerError: There is none of that name.
            ConfigError: Its entry is wrong; names file, server and key.
        """
        return self.found(name).outline(None)

    def outlines(self) -> list[ServerOutline]:
        """All servers whose entries can be understood."""
        understood: list[ServerOutline] = []
        for name in self.names:
            try:
                understood.append(self.outline(name))
            except ConfigError as error:
                self.output.detail(error.message)
        return understood

    def trust(self, name: str) -> Trust:
        """Whether a server may be used."""
        return self.store.trust(self.found(name))

    def config(self, name: str) -> ServerConfig:
        """A server's configuration for use. On a terminal, asks the user to accept an untrusted one.

        Raises:
            UnknownServerError: There is none of that name.
            ConfigError: Its entry is wrong; names file, server and key.
            NotTrustedError: It is in a project's file that the user has not accepted.
        """
        return self._admitted(name).config(os.environ)

    def launch(self, name: str) -> Launch | None:
        """How to start a server's program, if that is known before its whole configuration is read; as `config()`.

        The program is started unchecked: call `config()` immediately, and end the program if that fails.
        """
        return self._admitted(name).launch(os.environ)

    def endpoint(self, name: str) -> Endpoint | None:
        """Where a server is, if it is reached over HTTP and this is known before its whole configuration is read; as
        `config()`."""
        return self._admitted(name).endpoint(os.environ)

    def fields(self, name: str) -> tuple[dict[str, Any], str]:
        """A server's entry for the daemon, which checks it, and its source; as `config()`."""
        found = self._admitted(name)
        path = found.source.path
        # However the file was named; a link to it may lead elsewhere tomorrow.
        file = os.path.join(os.path.realpath(path.parent), path.name)
        return found.prepared(os.environ), " ".join((file, *found.source.under))

    def _admitted(self, name: str) -> FoundServer:
        """A server that is trusted, or that the user accepts now."""
        found = self.found(name)
        self.admit(found)
        return found

    def admit(self, found: FoundServer) -> None:
        """Return if a server is trusted, or if the user accepts it now.

        Raises:
            NotTrustedError: It is in a project's file that the user has not accepted.
        """
        name = found.name
        if name not in self._accepted_now and (trust := self.store.trust(found)) != "trusted":
            self._ask(found, trust)
            self._accepted_now.add(name)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog of their tools."""
        from ..catalog.store import Catalog

        return Catalog(in_memory=self.is_given)

    def _ask(self, found: FoundServer, trust: Trust) -> None:
        """Return if the user accepts the server now."""
        file = shown_path(found.source.path)
        since = "has changed since you accepted it" if trust == "changed" else "is not accepted yet"
        if self.output.as_json or not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
            raise NotTrustedError(
                f"The server {found.name!r} of the project file {file} {since}. Nothing was started.",
                server_name=found.name,
                hint=f"Check and accept it: jackfield config trust {found.name}",
            )
        from .describe import asked_about

        if not asked_about(f"The server {found.name!r} of the project file {file} {since}:", [found], self.output):
            raise NotTrustedError(
                f"The server {found.name!r} was not accepted. Nothing was started.", server_name=found.name
            )
        try:
            self.store.accept([found])
        except ConfigError as error:
            self.output.warn(f"{error.message} It is accepted this time only.")


def load_servers(config_files: Sequence[Path], output: Output) -> Servers:
    """Find the servers; warns of files that cannot be read.

    Args:
        config_files: Used instead of discovered files. Naming a file means trusting it.
        output: Gets the warnings.

    Raises:
        ConfigError: One of `config_files` cannot be read.
    """
    given = [Source.given(path, "--config") for path in config_files]
    discovery = discover(given or sources(current_folder(), os.environ))
    for path, error in discovery.problems.items():
        if given:
            raise error
        output.warn(f"{error.message} (Left out: {shown_path(path)})")
    return Servers(discovery, output)
