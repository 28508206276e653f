"""`jackfield generate`: code for the tools of a server, which says in CI when the server changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .ad_hoc_servers import AD_HOC_NAME, GivenOptions, is_python_file
from .exits import OK, TOOL_ERROR, OutputError, UsageError
from .invocation import Invocation
from .output import Output, current_folder, shown_path
from .server_options import CwdOption, EnvOption, HeaderOption, HttpOption, SseOption, StdioOption
from .text import ago, count, printable

if TYPE_CHECKING:
    from .generation.command_script import Reached
    from .generation.listing import Change, Listing, Made

ServerArgument = Annotated[
    str | None,
    typer.Argument(help="The server; a Python file or a URL also works.", metavar="SERVER", show_default=False),
]
FileOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write it to this file instead of stdout.", metavar="FILE")
]
CheckOption = Annotated[
    Path | None,
    typer.Option(
        "--check", help="Compare this generated file with the server, and exit with 1 if it changed.", metavar="FILE"
    ),
]
LiveOption = Annotated[bool, typer.Option("--live", help="Ask the server now instead of using the catalog.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    generate = typer.Typer(rich_markup_mode=None)
    generate.callback(invoke_without_command=True)(only_help)
    generate.command("python")(python)
    generate.command("cli")(cli)
    app.add_typer(generate, name="generate")


def only_help(context: typer.Context) -> None:
    """Write a typed client or a command for a server."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def python(
    context: typer.Context,
    server: ServerArgument = None,
    file: FileOption = None,
    check: CheckOption = None,
    live: LiveOption = False,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> int:
    """Write a typed module: an async function for each tool.

    Its arguments and results have the types of the tool's schemas. --check asks the server, and writes nothing.
    """
    from .generation.python_client import python_client

    options = GivenOptions(stdio, http, sse, header, env, cwd)
    wanted = _Wanted(Invocation.of(context), server, options, file, check, live)

    def write(listing: Listing) -> str:
        return python_client(listing, _opening(listing.server_name, wanted))

    return _generate(wanted, "python", write)


def cli(
    context: typer.Context,
    server: ServerArgument = None,
    file: FileOption = None,
    check: CheckOption = None,
    live: LiveOption = False,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> int:
    """Write a command: a script with a subcommand for each tool.

    It has an option for each argument, and calls as `jackfield call` does. --check asks the server, and writes nothing.
    """
    from .generation.command_script import command_script

    options = GivenOptions(stdio, http, sse, header, env, cwd)
    wanted = _Wanted(Invocation.of(context), server, options, file, check, live)
    reached = _reached(wanted)
    return _generate(wanted, "cli", lambda listing: command_script(listing, reached))


@dataclass(frozen=True)
class _Wanted:
    """What the command line asks for."""

    invocation: Invocation
    server: str | None
    options: GivenOptions
    file: Path | None
    check: Path | None
    live: bool


def _generate(wanted: _Wanted, kind: str, write: Callable[[Listing], str]) -> int:
    if wanted.file is not None and wanted.check is not None:
        raise UsageError("--output and --check cannot be given together: with --check nothing is written.")
    output = wanted.invocation.output
    before = None if wanted.check is None else _read(wanted.check, kind)
    listing = _listing(wanted)
    source = write(listing)
    if before is not None and wanted.check is not None:
        from .generation.listing import change

        made, text = before
        found = change(made, text, shown_path(wanted.check), listing, source)
        return _told(found, listing, wanted.check, output)
    if wanted.file is None:
        output.write(source)
        return OK
    _write(wanted.file, source, is_executable=kind == "cli")
    output.note(f"{shown_path(wanted.file)}: {count(len(listing.tools), 'tool')} of {listing.server_name}.")
    return OK


def _listing(wanted: _Wanted) -> Listing:
    """The server's tools: from the catalog where it has them, else from the server."""
    import time

    from .asking import ask_servers
    from .generation.listing import Listing

    invocation, server = wanted.invocation.at(wanted.server, wanted.options)
    if server is None:
        raise UsageError("Missing argument 'SERVER'.", hint="To see all servers: jackfield list")
    servers = invocation.servers
    outline = servers.outline(server)
    entry = servers.catalog.entry(outline)
    if wanted.live or wanted.check is not None or entry is None or not entry.fetched_at or entry.is_outdated:
        if (failure := ask_servers(invocation, [server]).first_error) is not None:
            raise typer.Exit(invocation.output.failed(failure))
        entry = servers.catalog.entry(outline)
        assert entry is not None
    else:
        listed = ago(time.time() - entry.fetched_at)
        invocation.output.detail(f"{server}: as listed {listed}; to ask the server now: --live")
    named = " ".join([*wanted.options.named, "..."]) if wanted.options.named else server
    name = server if server != AD_HOC_NAME else str(entry.server_info.get("name") or server)
    return Listing.of(name, named, servers.catalog.tools(outline), entry.tools, entry.server_info)


def _opening(server_name: str, wanted: _Wanted) -> str:
    """What `open_session` is given in Python, as an expression; without what may be secret."""
    import shlex

    from ..config.outline import redact_url
    from ..masking import without_secrets
    from .generation.source import quoted

    options, server = wanted.options, wanted.server or ""
    given = {"server_name": quoted(server_name.removesuffix(".py"))}
    if options.stdio is not None or is_python_file(server):
        words = ["python3", server] if options.stdio is None else without_secrets(shlex.split(options.stdio))
        given |= {"command": quoted(words[0]), "args": f"[{', '.join(map(quoted, words[1:]))}]"}
        kind = "StdioConfig"
    elif url := options.http or options.sse or (server if "://" in server else None):
        given["url"] = quoted(redact_url(url))
        kind = "HttpConfig" if options.sse is None else "SseConfig"
    else:
        return quoted(server_name)
    return f"{kind}({', '.join(f'{key}={value}' for key, value in given.items())})"


def _reached(wanted: _Wanted) -> Reached:
    """How the script reaches the server: as this command line does.

    Raises:
        UsageError: A secret would stand in the script.
    """
    from .generation.command_script import Reached

    options, server = wanted.options, wanted.server or ""
    written = wanted.file or wanted.check
    folder = current_folder() if written is None else written.absolute().parent
    words: list[str] = []
    paths: set[int] = set()

    def add(option: str, value: str) -> None:
        words.extend([option, value])

    def add_path(option: str, path: Path, ending: str = "") -> None:
        paths.add(len(words) + bool(option))
        words.extend([option] * bool(option) + [os.path.relpath(path.absolute(), folder) + ending])

    for file in wanted.invocation.config_files:
        add_path("--config", file)
    words.append("call")
    for option, texts in (("--header", options.header), ("--env", options.env)):
        for text in texts or ():
            if "${" not in text:
                raise _secret(option)
            add(option, text)
    if options.cwd is not None:
        add_path("--cwd", options.cwd)
    if is_python_file(server):
        add_path("", Path(server), ".")
        return Reached(words, frozenset(paths))
    if options.stdio is not None:
        add("--stdio", _open(options.stdio, "--stdio"))
    elif url := options.http or options.sse or (server if "://" in server else None):
        add("--http" if options.sse is None else "--sse", _open(url, "The URL"))
    else:
        return Reached([*words, f"{server}."], frozenset(paths))
    return Reached([*words, f"{AD_HOC_NAME}."], frozenset(paths))


def _open(text: str, option: str) -> str:
    """A command or a URL, if there is no secret in it.

    Raises:
        UsageError: There may be one.
    """
    import shlex

    from ..config.outline import redact_url
    from ..masking import without_secrets

    shown = redact_url(text) if "://" in text.partition(" ")[0] else shlex.join(without_secrets(shlex.split(text)))
    if shown not in (text, shlex.join(shlex.split(text))) and "${" not in text:
        raise _secret(option)
    return text


def _secret(option: str) -> UsageError:
    return UsageError(
        f"{option}: the script would contain a possible secret.",
        hint="Write ${NAME} for the value of a variable, or configure the server: jackfield config add",
    )


def _read(file: Path, kind: str) -> tuple[Made, str]:
    """What a generated file was made from, and its content."""
    from .generation.listing import read_made

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"--check: {str(file)!r} cannot be read ({reason}).", hint="Generate it first.") from None
    made = read_made(text)
    if made is None or made.kind != kind:
        what = "was not generated by Jackfield" if made is None else f"was generated by: jackfield generate {made.kind}"
        raise UsageError(f"--check: {str(file)!r} {what}.", hint="Name a file that this command generated.")
    return made, text


def _told(found: Change, listing: Listing, file: Path, output: Output) -> int:
    """Print what changed; returns the exit code."""
    kinds = {"added": found.added, "removed": found.removed, "changed": found.changed}
    if output.as_json:
        output.write_json({**kinds, "edited": found.is_edited, "diff": found.diff})
    elif found:
        for kind, names in kinds.items():
            for name in names:
                output.write_row([kind, name])
        output.write(printable(found.diff, "\n"))
    what = shown_path(file)
    if not found:
        output.note(f"{what}: {count(len(listing.tools), 'tool')} of {listing.server_name}, as generated.")
        return OK
    if found.is_edited:
        output.warn(
            f"{what} is not what is generated from the same tools: it was edited, or generated for another address."
        )
    else:
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items() if names)
        output.warn(f"{listing.server_name} changed since {what} was generated: {counts}.")
    return TOOL_ERROR


def _write(file: Path, source: str, *, is_executable: bool) -> None:
    """Write a file, but not over what was not generated."""
    from ..files import write_private
    from .generation.listing import read_made

    file = file.resolve()
    try:
        # Anything else than a file would be replaced, a device included.
        is_ours = file.is_file() and read_made(file.read_text(encoding="utf-8", errors="replace")) is not None
        if file.exists() and not is_ours:
            raise UsageError(
                f"--output: {str(file)!r} is there, and was not generated by Jackfield.",
                hint="Remove it, or write to another file.",
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        umask = os.umask(0)
        os.umask(umask)
        write_private(file, source, mode=(0o777 if is_executable else 0o666) & ~umask)
    except OSError as error:
        raise OutputError.because(error) from None
