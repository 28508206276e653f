"""`jackfield config import|add|remove`: change Jackfield's own files. Those of other programs: `install.py`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, UnknownServerError
from ..names import did_you_mean, normal
from .exits import UsageError
from .install import export
from .invocation import Invocation
from .output import current_folder, shown_path
from .own_file import file_to_write, read_table, write_table
from .trust_store import NotTrustedError, TrustStore

if TYPE_CHECKING:
    from ..config.discover import Discovery, FoundServer

PROJECT = typer.Option("--project", help="In the project's jackfield.json, instead of your own.")
FORCE = typer.Option("--force", help="Replace servers of the same name.")


def register(config: typer.Typer) -> None:
    """Add the commands."""
    config.command("import")(import_servers)
    config.command("add")(add)
    config.command("remove")(remove)
    config.command("export")(export)


def import_servers(
    context: typer.Context,
    servers: Annotated[
        list[str] | None, typer.Argument(help="All that apply if omitted.", metavar="[SERVER]...")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="Only from this program or file.", metavar="PROGRAM|FILE")
    ] = None,
    project: Annotated[bool, PROJECT] = False,
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Copy servers of other programs' files into your own."""
    from ..config.discover import FoundServer, Source
    from ..config.exporting import copied_entry
    from .upstreams import is_gateway

    invocation = Invocation.of(context)
    output = invocation.output
    # What --config names is where they go, not where they come from.
    target = file_to_write(invocation, is_project=project)
    found = _candidates(invocation, source, target)
    if servers:
        for name in servers:
            if name not in found:
                raise UnknownServerError(
                    f"There is no server {name!r} to import.",
                    server_name=name,
                    hint=did_you_mean(name, found, "server"),
                )
        chosen = {name: found[name] for name in servers}
        store = TrustStore()
        for name, one in chosen.items():
            if store.trust(one) != "trusted":
                raise NotTrustedError(
                    f"The server {name!r} of the project file {shown_path(one.source.path)} is not accepted yet.",
                    hint=f"Check and accept it: jackfield config trust {name}",
                )
    else:
        # What a project's file has is trusted once it is copied, and so taken only if it is named.
        chosen = {name: one for name, one in found.items() if one.source.scope != "project"}
    data, key, table = read_table(target)
    taken: list[str] = []
    for name, one in chosen.items():
        if name in table and not force:
            output.note(f"{name}: already present; --force replaces it.")
            continue
        try:
            entry = copied_entry(name, one.entry, one.source)
            one.prepared(None)  # says what is wrong with it
            copy = FoundServer(name, entry, Source(target, "Jackfield", "user", target.absolute().parent))
            config = copy.config(None)
        except ConfigError as error:
            output.warn(f"{name}: skipped. {error.message}")
            continue
        if not servers and is_gateway(config):
            output.note(f"{name}: skipped; it is the gateway that `jackfield install` added.")
            continue
        table[name] = entry
        taken.append(name)
        output.detail(f"{name}: from {shown_path(one.source.path)} ({one.source.program})")
    if taken:
        write_table(target, data, key, table)
        accept(invocation, target, taken)
        if (project or invocation.config_files) and any(_has_plain_values(table[name]) for name in taken):
            output.warn(
                f"{shown_path(target)} now contains values in plain text. Write secrets as ${{VAR}} before you share "
                "it."
            )
    if output.as_json:
        output.write_json({"file": str(target), "imported": taken})
    else:
        output.note(f"Imported into {shown_path(target)}: {', '.join(taken) or 'nothing'}.")


def _candidates(invocation: Invocation, source: str | None, target: Path) -> dict[str, FoundServer]:
    """The servers that can be imported, by name; the first found of each."""
    if source is not None and (os.sep in source or Path(source).exists()):
        from ..config.discover import Source, discover

        file = Path(source)
        discovery = discover([Source.given(file, "--from")])
        for error in discovery.problems.values():
            raise error
        return dict(discovery.servers)
    everything = _everywhere()
    found = [one for one in (*everything.servers.values(), *everything.shadowed) if one.source.path != target]
    found = [one for one in found if one.source.program != "Jackfield"]
    if source is not None:
        programs = {one.source.program for one in found}
        wanted = _program(source, programs)
        found = [one for one in found if one.source.program.startswith(wanted)]
    first: dict[str, FoundServer] = {}
    for one in found:
        first.setdefault(one.name, one)
    return first


def _everywhere() -> Discovery:
    from ..config.discover import discover, sources

    return discover(sources(current_folder(), os.environ))


def _program(name: str, programs: Iterable[str]) -> str:
    """The program that is meant, by case and separators."""
    known = sorted({program.partition(",")[0] for program in programs})

    for program in known:
        if normal(program) == normal(name):
            return program
    raise UsageError(f"No server of a program {name!r} was found.", hint=did_you_mean(name, known, "program"))


def _absolute_path(key: str, text: str, folder: Path) -> str:
    from ..config.entries import is_place

    return str(folder / text) if is_place(key, text) and not text.startswith(("/", "~", "${")) else text


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name here.", metavar="NAME")],
    command: Annotated[
        list[str] | None,
        typer.Argument(
            help="Its URL over HTTP; or, after --, the command that starts it: NAME -- npx -y some-server.",
            metavar="[URL | -- COMMAND [ARG]...]",
        ),
    ] = None,
    stdio: Annotated[
        str | None,
        typer.Option("--stdio", help="The command that starts it, as one quoted word.", metavar="'COMMAND ARG'"),
    ] = None,
    http: Annotated[str | None, typer.Option("--http", help="Reach it over Streamable HTTP.", metavar="URL")] = None,
    sse: Annotated[str | None, typer.Option("--sse", help="Reach it over SSE.", metavar="URL")] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", help="A variable; write secrets as ${VAR}.", metavar="NAME=VALUE")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", help="A header; write secrets as ${VAR}.", metavar="'NAME: VALUE'")
    ] = None,
    cwd: Annotated[Path | None, typer.Option("--cwd", help="Start it in this folder.", metavar="FOLDER")] = None,
    project: Annotated[bool, PROJECT] = False,
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Add a server to your own file; it is not started."""
    from ..config.discover import FoundServer, Source

    invocation = Invocation.of(context)
    output = invocation.output
    words = shlex_split(stdio) if stdio is not None else list(command or [])
    if len(words) == 1 and re.match(r"https?://", words[0]) and http is None and sse is None:
        http, words = words[0], []
    given = [what for what, value in (("a command", words), ("--http", http), ("--sse", sse)) if value]
    if len(given) != 1:
        raise UsageError(
            f"Give one of a command, --http and --sse, not {' and '.join(given) if given else 'none'}.",
            hint="Such as: jackfield config add files -- npx -y @modelcontextprotocol/server-filesystem .",
        )
    if not name or name.startswith("-") or not name.isprintable() or any(char.isspace() for char in name):
        raise UsageError(f"{name!r} is not a valid server name.", hint="Use letters, digits, - and _.")
    target = file_to_write(invocation, is_project=project)
    entry: dict[str, Any] = {}
    if words:
        # A path is meant from here, not from the file's folder.
        first = _absolute_path("command", words[0], current_folder())
        entry = {"command": first, **({"args": words[1:]} if words[1:] else {})}
    else:
        entry = {"type": "http" if http else "sse", "url": http or sse}
    variables = dict(_pair(one, "=", "--env NAME=VALUE") for one in env or ())
    headers = dict(_pair(one, ":", "--header 'NAME: VALUE'") for one in header or ())
    if variables:
        entry["env"] = variables
    if headers:
        entry["headers"] = headers
    if cwd is not None:
        entry["cwd"] = str(cwd.absolute())
    elif any(map(_is_here, words[1:])):
        # A path is meant from here, and the server may be called from anywhere.
        entry["cwd"] = os.path.relpath(current_folder(), target.absolute().parent) if project else str(current_folder())
    try:
        FoundServer(name, entry, Source(target, "Jackfield", "user", target.absolute().parent)).config(None)
    except ConfigError as error:
        # The command line is wrong, and the file was not touched.
        at = f"--{'http' if http else 'sse'}: " if error.key == "url" else f"key {error.key!r}: " if error.key else ""
        raise UsageError(f"{at}{error.problem or error.message}", hint=error.hint) from None
    data, key, table = read_table(target)
    if name in table and not force:
        raise UsageError(f"{shown_path(target)} already has a server {name!r}.", hint="Give --force to replace it.")
    write_table(target, data, key, {**table, name: entry})
    accept(invocation, target, [name])
    first = _everywhere().servers.get(name)
    if not invocation.config_files and first is not None and first.source.path != target:
        output.warn(f"In this folder, the server {name!r} of {shown_path(first.source.path)} comes first.")
    if _has_plain_values(entry):
        output.warn("A value is stored in plain text. If it is a secret, write it as ${VAR}, and set that variable.")
    if output.as_json:
        output.write_json({"file": str(target), "added": name})
    else:
        output.note(f"Added {name!r} to {shown_path(target)}. To try it: jackfield doctor {name}")


def _is_here(argument: str) -> bool:
    """Whether an argument, or the value of `--option=value`, is the relative path of something that exists."""
    path = argument.partition("=")[2] if argument.startswith("-") else argument
    try:
        return bool(path) and not os.path.isabs(path) and (current_folder() / path).exists()
    except (OSError, ValueError):
        return False


def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name.", metavar="NAME")],
    project: Annotated[bool, PROJECT] = False,
) -> None:
    """Remove a server from your own file."""
    invocation = Invocation.of(context)
    output = invocation.output
    target = file_to_write(invocation, is_project=project)
    data, key, table = read_table(target)
    if name not in table:
        elsewhere = [] if invocation.config_files else [
            one
            for one in (*invocation.servers.discovery.servers.values(), *invocation.servers.discovery.shadowed)
            if one.name == name
        ]  # fmt: skip
        hint = did_you_mean(name, table, "server")
        if elsewhere:
            own = elsewhere[0].source.program == "Jackfield"
            file = shown_path(elsewhere[0].source.path)
            hint = f"It is in {file}: " + ("give --project." if own else "remove it there.")
        raise UnknownServerError(f"{shown_path(target)} has no server {name!r}.", server_name=name, hint=hint)
    del table[name]
    write_table(target, data, key, table)
    if output.as_json:
        output.write_json({"file": str(target), "removed": name})
    else:
        output.note(f"Removed {name!r} from {shown_path(target)}.")


def shlex_split(text: str) -> list[str]:
    """The words of a command line.

    Raises:
        UsageError: Its quotes do not match.
    """
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a command line: {error}.", hint="Check its quotes.") from None


def _pair(text: str, separator: str, shape: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not found or not name.strip():
        # The text itself may be a secret.
        raise UsageError(f"A value does not have the shape {shape}.")
    return name.strip(), value.strip() if separator == ":" else value


def _has_plain_values(entry: dict[str, Any]) -> bool:
    """Whether a variable or a header is given in full."""
    tables: list[Any] = [entry.get(key) for key in ("env", "environment", "headers")]
    return any("${" not in str(value) for table in tables if isinstance(table, dict) for value in table.values())  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]


def accept(invocation: Invocation, target: Path, names: list[str]) -> None:
    """What the user writes into the project's file is accepted by that."""
    if invocation.config_files:
        return
    store = TrustStore()
    found = _everywhere().servers
    mine = [found[name] for name in names if name in found and found[name].source.path == target]
    if new := [one for one in mine if store.trust(one) != "trusted"]:
        store.accept(new)
