"""The prompt of `jackfield shell`: editing, history, completion."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.output import ColorDepth, create_output

from ..files import user_state_folder
from .completing import complete, split
from .shell_lines import CONTINUED, HELP, PROMPT, is_complete


class ShellPrompt:
    """Asks for lines on the terminal.

    Args:
        shared: The options that all lines have.
        commands: The names of the commands.
        color: Whether to colour.
    """

    def __init__(self, shared: Sequence[str], commands: Collection[str], *, color: bool) -> None:
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            history=_history(),
            completer=_ShellCompleter(shared, commands),
            complete_while_typing=False,
            multiline=Condition(lambda: not is_complete(get_app().current_buffer.text, commands)),
            prompt_continuation=CONTINUED,
            # stdout is for data.
            output=create_output(stdout=sys.stderr),
            color_depth=None if color else ColorDepth.DEPTH_1_BIT,
        )

    def read(self) -> str:
        """The next line.

        Raises:
            EOFError: Ctrl-D.
            KeyboardInterrupt: Ctrl-C.
        """
        return self._session.prompt()


def history_path() -> Path:
    """Where lines are remembered."""
    return user_state_folder() / "shell_history"


def _history() -> History:
    """Lines of earlier shells, in a file that only the user can read; a line that begins with a blank is not kept."""
    path = history_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
    except OSError:
        return InMemoryHistory()
    return _ShellHistory(str(path))


class _ShellHistory(FileHistory):
    def append_string(self, string: str) -> None:
        if not string[:1].isspace():
            super().append_string(string)

    def store_string(self, string: str) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the history only
            super().store_string(string)


class _ShellCompleter(Completer):
    """Completes as the shells' scripts do, and a line that begins with no command as a call."""

    def __init__(self, shared: Sequence[str], commands: Collection[str]) -> None:
        self._shared = list(shared)
        self._commands = commands

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        # Whatever is wrong with the line is told when it is entered.
        with contextlib.suppress(Exception):
            yield from self._completions(document.text_before_cursor)

    def _completions(self, text: str) -> Iterator[Completion]:
        asked: Any = split(f"jackfield {text.lstrip()}")
        if asked.before == [HELP]:
            names = ((name, "") for name in sorted(self._commands) if name.startswith(asked.word))
            yield from self._found(asked, names, HELP)
            return
        if not asked.before:
            own = [(name, "") for name in ("exit", HELP) if asked.word and name.startswith(asked.word)]
            yield from self._found(asked, own)
            yield from self._found(asked, complete(type(asked)(self._shared, asked.word)), "shell")
        is_command = asked.before and asked.before[0] in self._commands
        before = asked.before if is_command else ["call", *asked.before]
        if before:
            yield from self._found(asked, complete(type(asked)([*self._shared, *before], asked.word)))

    @staticmethod
    def _found(asked: Any, candidates: Iterable[tuple[str, str]], *not_here: str) -> Iterator[Completion]:
        for value, about in candidates:
            if value not in not_here and value.isprintable():
                yield Completion(value, start_position=-len(asked.word), display_meta=about)
