"""Writes entries into other programs' files, with a backup, and takes them out again.

What was written is remembered in the user's state folder with the file as it was, so that taking an entry out restores
the file byte for byte; if it was changed since, only the entry is taken out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from ..errors import ConfigError
from ..files import user_state_folder, write_private
from ..plain import as_table
from .discover import folders_of, place_of
from .files import parse_file, part_of
from .insertion import with_entry
from .programs.table import Program, Writing


class Target(NamedTuple):
    """Where an entry goes."""

    program: Program
    writing: Writing
    file: Path
    is_project: bool

    @property
    def table(self) -> str:
        """The keys of the table, for people."""
        return ".".join(self.writing.table)


class Written(NamedTuple):
    """A file as it was, and as it is to be."""

    file: Path
    before: bytes | None
    after: bytes
    added: str
    """The text that is added to it."""


def target_of(
    program: Program, *, is_project: bool, project: Path, name: str, environment: Mapping[str, str]
) -> Target:
    """The file of a program that an entry is written into: the user's own, or that of a project.

    Raises:
        ConfigError: The program has no such file that Jackfield writes.
    """
    writing = program.writing if is_project else program.user_writing
    if writing is None:
        other = program.user_writing if is_project else program.writing
        hint = "Leave out --project for your own file." if is_project else "Give --project for a project's file."
        what = "a project's" if is_project else "your own"
        raise ConfigError(f"Jackfield does not write {what} file of {program.name}.", hint=hint if other else None)
    path = place_of(writing.path.replace("{name}", name), folders_of(environment), project)
    return Target(program, writing, path, is_project)


def planned(target: Target, name: str, entry: Mapping[str, Any]) -> Written | None:
    """The file with the entry added; `None` if it has exactly this entry already. Writes nothing.

    Raises:
        ConfigError: It has another server of that name, or it cannot be changed without affecting other entries.
    """
    file = target.file
    before = _bytes(file)
    data = _data(file, before)
    there = _table(data, target).get(name)
    if there == entry:
        return None
    if there is not None:
        raise ConfigError(
            f"{file}: {target.table} has a server {name!r} already, with another entry.",
            server_name=name,
            hint="Give another --name, or remove that one.",
        )
    start = (before or b"").decode("utf-8")
    if not start.strip() and file.suffix not in (".toml", ".yaml", ".yml"):
        start = _empty(target)
    text = with_entry(start, target.writing.table, name, entry, file.suffix)
    written = Written(file, before, text.encode("utf-8"), _added(start, text))
    _check(written, target, name, entry)
    return written


def write(written: Written, target: Target, name: str) -> Path | None:
    """Write the file; returns the backup, if there was a file.

    Raises:
        ConfigError: It cannot be written.
    """
    record, backup = _kept(target, name)
    made = [str(folder) for folder in written.file.absolute().parents if not folder.exists()]
    content = {
        "file": str(_real(written.file)),
        "name": name,
        "backup": None if written.before is None else str(backup),
        "after": _hash(written.after),
        "added": written.added,
        "made": made,
    }
    try:
        if written.before is not None:
            write_private(backup, written.before.decode("utf-8"), is_durable=True)
        write_private(record, json.dumps(content, indent=1), is_durable=True)
        _replace(written.file, written.after, mode=0o644 if target.is_project else 0o600)
    except OSError as error:
        raise ConfigError(f"{written.file}: cannot be written ({error.strerror or error}).") from None
    return None if written.before is None else backup


def undone(target: Target, name: str) -> bytes | None:
    """The file as it was before the entry was added, or without the entry; `None` if there was no file. Writes nothing.

    Raises:
        ConfigError: Nothing was installed there, or the file was changed so that the entry is not found.
    """
    record = _record(target, name)
    now = _bytes(target.file)
    if now is None:
        return None
    if _hash(now) == record["after"]:
        return None if record["backup"] is None else Path(str(record["backup"])).read_bytes()
    added = str(record["added"])
    text = now.decode("utf-8")
    wanted = dict(_table(_data(target.file, now), target))
    wanted.pop(name, None)
    if text.count(added) == 1:
        rest = text.replace(added, "").encode()
        with contextlib.suppress(ConfigError):
            if _table(_data(target.file, rest), target) == wanted:
                return rest
    raise ConfigError(
        f"{target.file}: it was changed since {name!r} was added, so the entry cannot be removed automatically.",
        hint=f"Remove {name!r} from {target.table} by hand. The file as it was: {record['backup'] or 'none'}",
    )


def undo(target: Target, name: str, before: bytes | None) -> None:
    """Put the file back, and forget that something was installed there.

    Raises:
        ConfigError: It cannot be written.
    """
    made = [Path(str(folder)) for folder in _record(target, name)["made"]]
    try:
        if before is None:
            target.file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others have put something there
                for folder in made:
                    folder.rmdir()
        else:
            _replace(target.file, before)
        for file in _kept(target, name):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{target.file}: cannot be written ({error.strerror or error}).") from None


def _kept(target: Target, name: str) -> tuple[Path, Path]:
    """Where it is remembered what was written, and the file as it was."""
    key = _hash(f"{_real(target.file)}\n{name}".encode())[:16]
    folder = user_state_folder() / "installed"
    return folder / f"{key}.json", folder / f"{key}-{target.file.name}"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _record(target: Target, name: str) -> dict[str, Any]:
    try:
        return json.loads(_kept(target, name)[0].read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError(
            f"No {name!r} was installed in {target.file}.", hint="See what is there: jackfield config path"
        ) from None


def _check(written: Written, target: Target, name: str, entry: Mapping[str, Any]) -> None:
    """Whether the new text says what the old one said, and the entry."""
    wanted: dict[str, Any] = json.loads(json.dumps(_data(written.file, written.before), default=str))
    table = wanted
    for key in target.writing.table:
        inner = table.get(key)
        if inner is None:
            inner = table[key] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{written.file}: {target.table} is not a table.", hint="Edit it by hand.")
        table = cast("dict[str, Any]", inner)
    table[name] = json.loads(json.dumps(entry))
    with contextlib.suppress(ConfigError):
        if json.loads(json.dumps(_data(written.file, written.after), default=str)) == wanted:
            return
    raise ConfigError(
        f"{written.file}: it cannot be changed without affecting other entries.",
        hint=f"Add the entry to {target.table} by hand; config export shows it.",
    )


def _data(file: Path, content: bytes | None) -> Mapping[str, Any]:
    if content is None or not content.strip():
        return {}
    try:
        return parse_file(file, content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: it is not UTF-8 text.") from None


def _table(data: Mapping[str, Any], target: Target) -> Mapping[str, Any]:
    return as_table(part_of(data, target.writing.table))


def _bytes(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from None


def _empty(target: Target) -> str:
    """A new file with an empty table, as JSON."""
    value: dict[str, Any] = {}
    for key in reversed(target.writing.table):
        value = {key: value}
    return json.dumps(value, indent=2) + "\n"


def _added(before: str, after: str) -> str:
    """The text that is in the new version and not in the old one."""
    start = _alike(before, after)
    end = _alike(before[start:][::-1], after[start:][::-1])
    return after[start : len(after) - end]


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((number for number, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def _replace(file: Path, content: bytes, mode: int = 0o600) -> None:
    target = _real(file)  # a link, as of dotfiles, stays one
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        mode = stat.S_IMODE(target.stat().st_mode)
    write_private(target, content.decode("utf-8"), mode=mode)


def _real(file: Path) -> Path:
    return Path(os.path.realpath(file))
