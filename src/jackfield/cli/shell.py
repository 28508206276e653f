"""`jackfield shell`: a prompt that holds sessions, so that each line continues with the state of the previous one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Protocol

import typer

from ..errors import JackfieldError
from . import exits
from .invocation import Invocation
from .output import Output, is_terminal
from .shell_lines import CONTINUED, HELP, LEAVE, PROMPT, arguments_of, is_complete

_HELP = """\
SERVER.TOOL key=value          call a tool
SERVER.TOOL {"key": "value"}   the same in JSON, which may span several lines
list, find, show, read, ...    as on the command line, without `jackfield`
close SERVER                   close the session that your lines opened
help COMMAND                   the arguments of a command
exit                           leave, as Ctrl-D does; Ctrl-C cancels a call and stays

A server that a line opens stays open until you leave: the next line finds its state.\
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("shell")(shell)


def shell(context: typer.Context) -> int:
    """Call tools line by line, on open sessions."""
    from .shell_sessions import HeldSessions

    output = Invocation.of(context).output
    lines = _Lines(output)
    with exits.unwound_by_signals(), HeldSessions():
        if is_terminal(sys.stdin) and is_terminal(sys.stderr):
            return _typed(lines, output)
        return _piped(lines, output)


class _Lines:
    """Runs lines, each as the command that it stands for."""

    def __init__(self, output: Output) -> None:
        from .commands import COMMANDS, hoisted

        self._output = output
        self.shared = hoisted(sys.argv[1:])[0]
        self.commands = {*COMMANDS, HELP}

    def run(self, line: str) -> int:
        """Run one; returns its exit code."""
        from .app import main

        try:
            arguments = self._arguments(line)
            return main([*self.shared, *arguments]) if arguments else exits.OK
        except JackfieldError as error:
            self._output.error(error)
            return exits.exit_code(error)
        except KeyboardInterrupt:
            return exits.INTERRUPTED

    def _arguments(self, line: str) -> Sequence[str]:
        arguments = arguments_of(line, self.commands)
        match arguments:
            case ["help"]:
                self._output.write(_HELP)
                return []
            case ["help", *command]:
                return [*command, "--help"]
            case ["shell", *_]:
                raise exits.UsageError("This is the shell.", hint="Leave it with: exit")
            case _:
                return arguments


class Prompt(Protocol):
    """Asks for lines."""

    def read(self) -> str:
        """The next line.

        Raises:
            EOFError: Ctrl-D.
            KeyboardInterrupt: Ctrl-C.
        """
        ...


class _PlainPrompt:
    """Reads lines if the terminal has no features or `prompt-toolkit` is not installed."""

    def __init__(self, lines: _Lines) -> None:
        self._commands = lines.commands

    def read(self) -> str:
        """The next line; as `ShellPrompt.read`."""
        text, prompt = "", PROMPT
        while True:
            print(prompt, end="", file=sys.stderr, flush=True)  # noqa: T201
            piece = sys.stdin.readline()
            if not piece:
                raise EOFError
            text += piece
            line = text.removesuffix("\n")
            if is_complete(line, self._commands):
                return line
            prompt = CONTINUED


def _prompt(lines: _Lines, output: Output) -> Prompt:
    if os.environ.get("TERM", "dumb") == "dumb":
        return _PlainPrompt(lines)
    try:
        from .shell_prompt import ShellPrompt
    except ModuleNotFoundError as error:
        if error.name != "prompt_toolkit":
            raise
        output.note("For history and completion: pip install 'jackfield[cli]'")
        return _PlainPrompt(lines)
    output.note("Tab completes, help explains, Ctrl-D exits.")
    return ShellPrompt(lines.shared, lines.commands, color=output.colors(sys.stderr))


def _typed(lines: _Lines, output: Output) -> int:
    prompt = _prompt(lines, output)
    while True:
        try:
            line = prompt.read()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return exits.OK
        if line.strip() in LEAVE:
            return exits.OK
        code = lines.run(line)
        if code == exits.INTERRUPTED:
            output.note("Cancelled.")
        elif code == exits.BROKEN_PIPE:
            return code


def _piped(lines: _Lines, output: Output) -> int:
    """Lines of a script: the first that fails ends it, with its exit code."""
    text, begins = "", 1
    for number, piece in enumerate(sys.stdin, 1):
        begins = begins if text else number
        text += piece
        line = text.removesuffix("\n")
        if not is_complete(line, lines.commands):
            continue
        text = ""
        if line.strip() in LEAVE:
            return exits.OK
        if (code := lines.run(line)) != exits.OK:
            if not output.as_json:
                output.note(f"The script ended at line {begins}.")
            return code
    return lines.run(text)
