"""An entry for Jackfield's own file: it means there what it means in the file of its program."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from .entry import entry_error, inherited, is_place, kept_keys
from .foreign import in_our_words
from .keys import transport_of_entry
from .notations import rewritten, runs_shell
from .source import Source
from .templates import ExpansionError

_FOLDER = re.compile(r"(?<!\$)\$\{([^{}]+?)(?::-[^{}]*)?\}")


def copied_entry(name: str, entry: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """The entry in Jackfield's words and notation, with absolute paths, and with the folder that it is started in.

    Args:
        name: The server.
        entry: As written in its file.
        source: Where it stands.

    Raises:
        ConfigError: A text of it is not understood.
    """
    row, folder = source.row, source.file_folder
    # What means the current project in one's own file does so in Jackfield's as well.
    folders = {
        key: path
        for key, path in source.known_folders.items()
        if source.workspace is None or key in ("extensionPath", "CLAUDE_PLUGIN_ROOT")
    }

    kept = kept_keys(in_our_words(entry, row), source)
    has_shell = runs_shell(kept)

    def text(value: str, key: str) -> str:
        try:
            in_shell = has_shell and key == "args"
            value = rewritten(value, row, folder, os.environ.__contains__, in_shell=in_shell)
        except ExpansionError as error:
            raise entry_error(str(source.path), name, key, f"{error}.", error.hint) from None
        return _FOLDER.sub(lambda match: _escaped(folders[match[1]]) if match[1] in folders else match[0], value)

    def copied(key: str, value: Any) -> Any:
        if isinstance(value, str):
            return _absolute(key, text(value, key), source.folder)
        if isinstance(value, Mapping):
            return {str(inner): copied(str(inner), item) for inner, item in cast("Mapping[Any, Any]", value).items()}
        if isinstance(value, list):
            return [text(item, key) if isinstance(item, str) else item for item in cast("list[Any]", value)]
        return value

    ours = {key: copied(key, value) for key, value in kept.items()}
    has_folder = bool({"cwd", "working_dir"} & set(ours))
    if transport_of_entry(ours) == "stdio" and source.default_folder is not None and not has_folder:
        ours["cwd"] = str(source.default_folder)
    if transport_of_entry(ours) == "stdio" and "inherit_environment" not in ours and (more := inherited(source)):
        ours["inherit_environment"] = more
    return ours


def _escaped(path: str) -> str:
    return path.replace("${", "$${")


def _absolute(key: str, text: str, folder: Path) -> str:
    return str(folder / text) if is_place(key, text) and not text.startswith(("/", "~", "${")) else text
