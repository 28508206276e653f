"""Writes a server's content to new files, regardless of the names that it suggests."""

from __future__ import annotations

import os
import re
from pathlib import Path

_FILE_NAME_CHARS = 100
_MAX_SIBLINGS = 10_000


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
