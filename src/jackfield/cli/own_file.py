"""Jackfield's own configuration files, which it writes."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import ConfigError
from ..files import write_private
from .exits import UsageError
from .invocation import Invocation
from .output import current_folder, shown_path

TABLE = "mcpServers"


def file_to_write(invocation: Invocation, *, is_project: bool) -> Path:
    """The file that servers are added to: the one given by `--config`, the project's, or the user's.

    Raises:
        UsageError: More than one file is given, or one that is not JSON.
    """
    from ..config.discover import user_file

    given = invocation.config_files
    if len(given) > 1:
        raise UsageError("More than one --config is given, but only one file can be written.")
    file = given[0] if given else project_file(current_folder()) if is_project else user_file(os.environ)
    if file.suffix.lower() != ".json":
        raise UsageError(f"{shown_path(file)}: only JSON files are written.", hint="Edit it by hand.")
    return file


def project_file(cwd: Path) -> Path:
    """The project's `jackfield.json`: the nearest one, or else a new one at the root of the repository."""
    folders = [cwd, *cwd.parents]
    root = next((number for number, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    inside = folders[: root + 1]
    return next(
        (folder / "jackfield.json" for folder in inside if (folder / "jackfield.json").exists()),
        inside[-1] / "jackfield.json",
    )


def read_table(file: Path) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The content of a file that will be rewritten, the key of its servers, and the servers.

    Raises:
        ConfigError: It cannot be read, or has comments, which writing would lose.
    """
    from ..config.files import parse_file

    if not file.exists():
        return {}, TABLE, {}
    data = dict(parse_file(file))
    try:
        json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError:
        raise ConfigError(
            f"{shown_path(file)}: it has comments, which would be lost.", hint="Edit it by hand."
        ) from None
    key = next((name for name in (TABLE, "servers") if name in data), TABLE)
    table: object = data.get(key, {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{shown_path(file)}: {key} is not a table of servers by name.", hint="Edit it by hand.")
    return data, key, dict(cast("Mapping[str, Any]", table))


def write_table(file: Path, data: Mapping[str, Any], key: str, table: Mapping[str, Any]) -> None:
    """Write a file whole or not at all; a new one is readable for the user alone.

    Raises:
        ConfigError: It cannot be written.
    """
    target = Path(os.path.realpath(file))  # a link, as of dotfiles, stays one
    text = json.dumps({**data, key: dict(table)}, indent=2, ensure_ascii=False) + "\n"
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
        write_private(target, text, mode=mode)
    except OSError as error:
        raise ConfigError(
            f"{shown_path(file)}: cannot be written ({error.strerror or error}).",
            hint="Make it writable, or name another file: --config FILE",
        ) from None
