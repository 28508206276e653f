"""Pages of the reference about the command `jackfield`: its own help, command by command."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.docs.tables import table

from jackfield.cli import exits
from jackfield.cli.commands import COMMANDS
from jackfield.cli.root import command_of


def command_pages() -> dict[str, str]:
    """Their names, without ending, and their texts: one of all, and one of each command."""
    root = command_of(COMMANDS.values())
    context = root.context_class(root, info_name="jackfield")
    pages = {"jackfield": _overview(root, context)}
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if not command.hidden:
            pages[name] = "\n\n".join(
                _sections(command, command.context_class(command, info_name=name, parent=context))
            )
    return pages


def _overview(root: Any, context: Any) -> str:
    commands = [root.get_command(context, name) for name in root.list_commands(context)]
    rows = [[f"[`{command.name}`]({command.name}.md)", _about(command)] for command in commands if not command.hidden]
    return "\n\n".join(
        [
            *_sections(root, context, "jackfield"),
            "The options above stand before the command or behind it.",
            "## Commands",
            table(["command", "what it does"], rows),
            "## Exit codes",
            table(["code", "name", "errors"], _exit_codes()),
        ]
    )


def _exit_codes() -> Iterator[list[str]]:
    """Each code with the errors' codes that lead to it."""
    source = ast.parse(Path(inspect.getfile(exits)).read_text())
    for node in source.body:
        name = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""
        number = getattr(exits, name, None)
        if isinstance(number, int):
            codes = [f"`{code}`" for code, exit_code in exits._OF_CODE.items() if exit_code == number]
            yield [str(number), name.lower().replace("_", " "), ", ".join(codes)]


def _sections(command: Any, context: Any, title: str | None = None, level: int = 1) -> Iterator[str]:
    """A command's help as Markdown, and that of the commands in it."""
    yield f"{'#' * level} {title or context.command_path}"
    yield _about(command)
    yield f"```text\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```"
    for kind in ("argument", "option"):
        records = [param.get_help_record(context) for param in command.params if param.param_type_name == kind]
        # An argument's name is followed by the type that Python has for it.
        if rows := [[f"`{re.sub(r' <.*>$', '', name)}`", about] for name, about in filter(None, records)]:
            yield table([kind, "meaning"], rows)
    for name in getattr(command, "commands", {}) if level > 1 or title is None else {}:
        inner = command.commands[name]
        yield from _sections(inner, inner.context_class(inner, info_name=name, parent=context), level=level + 1)


def _about(command: Any) -> str:
    return inspect.cleandoc(command.help or "").replace("\f", "")
