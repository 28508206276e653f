"""What `jackfield call` does, and the reading of its usual command lines: without typer, whose import takes as long as
all else that a call on a kept session needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .ad_hoc_servers import GivenOptions
from .argument_syntax import Given
from .exits import UsageError
from .invocation import Invocation
from .output import Output
from .request import Wishes, make, show
from .targets import called


@dataclass
class CallLine:
    """The command line of a call."""

    tool: str | None = None
    words: list[str] = field(default_factory=list[str])
    args: str | None = None
    output: str | None = None
    save: Path | None = None
    timeout: float | None = None
    key: str | None = None
    dry_run: bool = False
    stdio: str | None = None
    http: str | None = None
    sse: str | None = None
    header: list[str] | None = None
    env: list[str] | None = None
    cwd: Path | None = None


_TAKE_VALUE: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("--args", "--output", "--key", "--stdio", "--http", "--sse"), str),
    **dict.fromkeys(("--save", "--cwd"), Path),
    "--timeout": float,
}
_TAKE_SEVERAL = ("--header", "--env")


def read_line(arguments: Sequence[str]) -> CallLine | None:
    """Read the words after `call`; `None` for what is left to typer, such as `--help` and what is wrong.

    Args:
        arguments: Without the options that all commands share.
    """
    line, words = CallLine(), list[str]()
    rest = iter(arguments)
    for argument in rest:
        if argument == "-" or not argument.startswith("-"):
            words.append(argument)
            continue
        option, equals, value = argument.partition("=")
        if argument == "--dry-run":
            line.dry_run = True
            continue
        if option not in _TAKE_VALUE and option not in _TAKE_SEVERAL:
            return None
        text = value if equals else next(rest, None)
        if text is None:
            return None
        name = option.removeprefix("--")
        if option in _TAKE_SEVERAL:
            setattr(line, name, [*(getattr(line, name) or ()), text])
            continue
        try:
            setattr(line, name, _TAKE_VALUE[option](text))
        except ValueError:
            return None
    line.tool, line.words = (words[0], words[1:]) if words else (None, [])
    return line


def read_shared(shared: Sequence[str]) -> Invocation:
    """The invocation of options that all commands share, as `commands.hoisted` gives them."""
    files: list[Path] = []
    rest = iter(shared)
    for option in rest:
        if option == "--config":
            files.append(Path(next(rest)))
        elif option.startswith("--config="):
            files.append(Path(option.removeprefix("--config=")))
    output = Output(
        as_json="--json" in shared,
        color=False if "--no-color" in shared else None,
        quiet="--quiet" in shared,
        verbose="--verbose" in shared,
    )
    return Invocation(output, files)


def make_call(invocation: Invocation, line: CallLine) -> None:
    """Call the tool and show its result.

    Raises:
        JackfieldError: It could not be called, or reported an error.
    """
    from .argument_syntax import read_words
    from .request_steps import call_steps, check_by_catalog, planned

    reference, rest, expressed = _read_expression(line.tool, line.words)
    wishes = Wishes.of(invocation.output, line.output, line.save, line.timeout, line.key)
    options = GivenOptions(line.stdio, line.http, line.sse, line.header, line.env, line.cwd)
    target, rest = called(lambda: invocation.servers, reference, rest, options)
    given = expressed or read_words(rest, line.args)
    if expressed is not None and (rest or line.args is not None):
        raise UsageError(
            "Arguments are given both in parentheses and after them.", hint="Give all of them in one place."
        )
    known = check_by_catalog(target, given, invocation.output.warn)
    warn = None if known else invocation.output.warn
    if line.dry_run:
        result = planned(*known) if known else make(target, call_steps(target, given, dry_run=True, warn=warn), wishes)
        invocation.output.write_json(result)
        invocation.output.note("Nothing was called.")
        return
    show(make(target, call_steps(target, given, warn=warn), wishes), target, wishes)


def _read_expression(tool: str | None, words: list[str]) -> tuple[str | None, list[str], Given | None]:
    """The tool, the other words, and the arguments of `TOOL(...)`, which is the first or the second word."""
    if tool is not None and "(" in tool:
        from .expression import read_arguments, split_expression

        if (parts := split_expression(tool)) is not None:
            return parts[0], words, read_arguments(parts[1])
    elif words and "(" in words[0]:
        from .expression import read_arguments, split_expression

        if (parts := split_expression(words[0])) is not None:
            return tool, [parts[0], *words[1:]], read_arguments(parts[1])
    return tool, words, None
