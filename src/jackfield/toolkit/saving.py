"""Writes what a server gave to new files, whatever names it suggests."""

from __future__ import annotations

import os
import re
from pathlib import Path

_FILE_NAME_CHARS = 100
_MAX_SIBLINGS = 10_000


def safe_name(suggested: str, fallback: str) -> str:
    """A file name with only the harmless characters of what a server suggests, such as a URI.

    Args:
        suggested: Anything.
        fallback: Taken where nothing is left of it.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", suggested.partition("://")[2] or suggested).strip("._")
    return name[-_FILE_NAME_CHARS:].strip("._") or fallback


def write_new(folder: Path, name: str, data: bytes) -> Path:
    """Write to a new file in `folder`; an existing file or link is never written to, but gets a sibling.

    Args:
        folder: Made if it is not there.
        name: By `safe_name`; a number is added to it where there is such a file.
        data: The content.

    Raises:
        OSError: It cannot be written; no part of it is left.
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
