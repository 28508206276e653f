"""The user's files: their folders, atomic writes, access for the user only; and new files with a server's content,
under safe names."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

_FILE_NAME_CHARS = 100
_MAX_SIBLINGS = 10_000


def user_state_folder() -> Path:
    """Where all is kept that must outlast a run: `JACKFIELD_STATE_DIR`, or else the user's state directory."""
    if given := os.environ.get("JACKFIELD_STATE_DIR"):
        return Path(given)
    if sys.platform == "linux":
        return _base_directory("XDG_STATE_HOME", ".local/state") / "jackfield"
    from platformdirs import user_state_path

    return user_state_path("jackfield")


def user_cache_folder() -> Path:
    """Where all is kept that can be had again: `JACKFIELD_CACHE_DIR`, or else the user's cache directory."""
    if given := os.environ.get("JACKFIELD_CACHE_DIR"):
        return Path(given)
    if sys.platform == "linux":
        return _base_directory("XDG_CACHE_HOME", ".cache") / "jackfield"
    from platformdirs import user_cache_path

    return user_cache_path("jackfield")


def _base_directory(variable: str, below_home: str) -> Path:
    """A directory as platformdirs has it, whose import would be a tenth of a call on a kept session.

    Source: XDG Base Directory Specification.
    """
    given = os.environ.get(variable, "")
    return Path(given) if os.path.isabs(given) else Path(os.path.expanduser(f"~/{below_home}"))


def is_open_to_others(status: os.stat_result) -> bool:
    """Whether others than this user can read or write a file.

    A file of another user reaches this one by its group, and may be read by it: Kubernetes mounts secrets so.
    """
    if os.name != "posix":
        return False
    return bool(status.st_mode & (0o077 if status.st_uid == os.geteuid() else 0o037))


def write_private(path: Path, text: str, *, mode: int = 0o600, is_durable: bool = False) -> None:
    """Replace the text of a file; readers see either the old text or the new one, never a mixture.

    Args:
        path: The file; its folder is made, for the user alone, where it is not there.
        text: All of it.
        mode: Who may read and write it.
        is_durable: Return once it is on the disk, for what cannot be had again.

    Raises:
        OSError: It cannot be written; what was there still is, and nothing else.
    """
    # Imported here: most commands read such files, and few write one.
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def safe_name(suggested: str, fallback: str) -> str:
    """A file name with only the safe characters of a server's suggestion, such as a URI.

    Args:
        suggested: Anything.
        fallback: Used if no character remains.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", suggested.partition("://")[2] or suggested).strip("._")
    return name[-_FILE_NAME_CHARS:].strip("._") or fallback


def write_new(folder: Path, name: str, data: bytes) -> Path:
    """Write to a new file in `folder`; never writes to an existing file or link.

    Args:
        folder: Created if necessary.
        name: As from `safe_name`; a number is added if the file exists.
        data: The content.

    Raises:
        OSError: It cannot be written; no partial file remains.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem, dot, ending = name.rpartition(".")
    stem, suffix = (stem, dot + ending) if stem else (ending, "")
    for count in range(1, _MAX_SIBLINGS + 1):
        path = folder / (f"{stem}{suffix}" if count == 1 else f"{stem}-{count}{suffix}")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return path
    raise FileExistsError(f"{folder} has {_MAX_SIBLINGS:,} files named like {stem}{suffix}")
