"""Files of the user's own: written whole or not at all, and readable for nobody else."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def user_state_folder() -> Path:
    """Where all is kept that must outlast a run: `JACKFIELD_STATE_DIR`, or else the user's state directory."""
    if given := os.environ.get("JACKFIELD_STATE_DIR"):
        return Path(given)
    # Imported here: most programs neither sign in nor accept anything.
    from platformdirs import user_state_path

    return user_state_path("jackfield")


def write_private(path: Path, text: str, *, mode: int = 0o600, is_durable: bool = False) -> None:
    """Put a text in the place of what a file holds; whoever reads it meanwhile sees the old or the new, no mixture.

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
