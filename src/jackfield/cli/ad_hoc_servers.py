"""Servers that are given on the command line instead of configured: by `--stdio`, `--http` or `--sse`, or in place of
a server's name as a Python file or a URL. `Invocation.at()` makes them the servers of a command."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..config.discover import Discovery, FoundServer, Source
from ..errors import ConfigError
from .exits import UsageError
from .output import current_folder

AD_HOC_NAME = "any"
"""Name of a server that is given by an option or as a URL; a Python file is called as it was written."""

_SERVES_ITSELF = re.compile(r"__main__|\.run(_\w+)?\(|\bstdio_server\(")
"""In a file that starts its server; in one that only defines it, `run_file.py` finds the server and runs it."""


@dataclass(frozen=True)
class GivenServer(FoundServer):
    """A server that is given on the command line. It is trusted: the user named it."""

    @property
    def option(self) -> str:
        """How it was given, for errors."""
        return str(self.source.path)

    def prepared(self, variables: Mapping[str, str] | None) -> dict[str, Any]:
        """As for a server of a file; but a command line was the shell's to expand, and it means what it says."""
        if "command" not in self.entry:
            return FoundServer.prepared(self, variables)
        words = {"command": self.entry["command"], "args": list(self.entry["args"])}
        plain = FoundServer(self.name, {**self.entry, "command": "-", "args": []}, self.source)
        return {**plain.prepared(variables), **words}

    def checked(self) -> GivenServer:
        """Itself.

        Raises:
            UsageError: It is not a server.
        """
        try:
            if "command" in self.entry:
                self.prepared(os.environ)
            elif self.endpoint(os.environ) is None:
                self.config(os.environ)
        except ConfigError as error:
            at = "" if error.key in ("", "url") else f"key {error.key!r}: "
            raise UsageError(f"{self.option}: {at}{error.problem or error.message}", hint=error.hint) from None
        return self

    def discovery(self) -> Discovery:
        """It as the only server there is."""
        return Discovery([self.source], {self.name: self}, [], [], {})


class GivenOptions(NamedTuple):
    """The options that give a server."""

    stdio: str | None = None
    http: str | None = None
    sse: str | None = None
    header: Sequence[str] | None = None
    env: Sequence[str] | None = None
    cwd: Path | None = None

    @property
    def named(self) -> list[str]:
        """Those that name a server."""
        options = (("--stdio", self.stdio), ("--http", self.http), ("--sse", self.sse))
        return [option for option, value in options if value is not None]

    def server(self) -> GivenServer | None:
        """The server that they give, if any.

        Raises:
            UsageError: They give more than one, or one of them is invalid.
        """
        named = self.named
        if len(named) > 1:
            raise UsageError(f"{named[0]} and {named[1]} cannot be given together: each names a server.")
        if self.header and named not in (["--http"], ["--sse"]):
            raise UsageError(
                "--header requires --http or --sse.", hint="For a configured server, set headers in its entry."
            )
        if (self.env or self.cwd is not None) and named != ["--stdio"]:
            option = "--env" if self.env else "--cwd"
            raise UsageError(
                f"{option} requires --stdio or a Python file.",
                hint="For a configured server, set it in its entry.",
            )
        if self.stdio is not None:
            return command_server(self.stdio, env=self.env or (), cwd=self.cwd)
        url = self.http if self.http is not None else self.sse
        if url is None:
            return None
        return address_server(url, self.header or (), transport=named[0].removeprefix("--"), source=named[0])

    def server_of(self, word: str | None) -> GivenServer | None:
        """The server that they give, or that a word gives which stands where a server's name can stand.

        Raises:
            UsageError: It is not a server, or an option does not go with it.
        """
        if self.named or word is None:
            return self.server()
        if "://" in word and not self.env and self.cwd is None:
            return address_server(word, self.header or (), source="The URL")
        if is_python_file(word) and not self.header:
            return file_server(word, env=self.env or (), cwd=self.cwd)
        return self.server()  # says what its options go with


def missing_file(word: str) -> UsageError | None:
    """The error if a word that is not a server's name can only be a Python file, which there is not."""
    if not word.endswith(".py") or Path(word).exists():
        return None
    return UsageError(f"There is no file {word!r}, and no server of that name.", hint="Check the path.")


def is_python_file(word: str) -> bool:
    """Whether a word names a Python file that exists."""
    return word.endswith(".py") and Path(word).is_file()


def command_server(
    line: str, *, env: Sequence[str] = (), cwd: Path | None = None, source: str = "--stdio"
) -> GivenServer:
    """The server that a command starts.

    Args:
        line: As for a shell.
        env: Its variables, as `NAME=VALUE`.
        cwd: The folder that it starts in.
        source: Where the line was given, for errors.

    Raises:
        UsageError: It is not a command line.
    """
    import shlex

    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{source}: {str(error).lower()} in {line!r}.", hint="Quote it as for a shell.") from None
    if not words:
        raise UsageError(f"{source}: it contains no command.", hint=f"Write {source} 'python3 server.py'.")
    return _started(AD_HOC_NAME, words, env, cwd, source)


def file_server(file: str, *, env: Sequence[str] = (), cwd: Path | None = None) -> GivenServer:
    """The server that a Python file defines.

    It is run by the active virtual environment, by a `.venv` next to the file or above it, or by the Python that runs
    Jackfield.

    Raises:
        UsageError: An option is invalid.
    """
    path = Path(file)
    try:
        starts_itself = _SERVES_ITSELF.search(path.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: it cannot be read ({error}).") from None
    # In another folder, a relative path would mean another file.
    written = str(path.absolute()) if cwd is not None else file
    runner = [] if starts_itself else [str(Path(__file__).with_name("run_file.py"))]
    return _started(file, [_python_for(path), *runner, written], env, cwd, file)


def _python_for(file: Path) -> str:
    environments = [Path(active)] if (active := os.environ.get("VIRTUAL_ENV")) else []
    environments += [folder / ".venv" for folder in file.absolute().parents]
    pythons = (environment / "bin" / "python" for environment in environments)
    return str(next((python for python in pythons if python.is_file()), sys.executable))


def _started(name: str, words: Sequence[str], env: Sequence[str], cwd: Path | None, source: str) -> GivenServer:
    variables: dict[str, str] = {}
    for one in env:
        variable, equals, value = one.partition("=")
        if not equals or not variable:
            # Its text may be a secret.
            raise UsageError("--env: it has no `=`.", hint="Write --env NAME=VALUE, or --env 'NAME=${VARIABLE}'.")
        variables[variable] = value
    entry: dict[str, Any] = {"command": words[0], "args": list(words[1:])}
    # As if it had been typed into the shell, which also hands on all variables.
    entry["inherit_environment"] = True
    if variables:
        entry["env"] = variables
    if cwd is not None:
        if not cwd.is_dir():
            raise UsageError(f"--cwd: there is no folder {str(cwd)!r}.")
        entry["cwd"] = str(cwd.absolute())
    return _given(name, entry, source).checked()


def address_server(
    url: str, headers: Sequence[str] = (), *, transport: str = "http", source: str = "--http"
) -> GivenServer:
    """The server at a URL.

    Args:
        url: Of the server.
        headers: Sent with every request, as `NAME: VALUE`.
        transport: `http` or `sse`.
        source: Where the URL was given, for errors.

    Raises:
        UsageError: It is no such URL.
    """
    entry = {"url": url, "transport": transport, "headers": _headers(headers)}
    return _given(AD_HOC_NAME, entry, source).checked()


def _given(name: str, entry: Mapping[str, Any], source: str) -> GivenServer:
    return GivenServer(name, entry, Source(Path(source), "command line", "given", current_folder()))


def _headers(headers: Sequence[str]) -> dict[str, Any]:
    split: dict[str, Any] = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            # Its text may be a secret.
            raise UsageError("--header: it has no colon.", hint="Write --header 'Authorization: Bearer ${TOKEN}'.")
        split[name.strip()] = value.strip()
    return split
