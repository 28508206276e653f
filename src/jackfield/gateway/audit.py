"""One line of JSON for each call that a gateway relays or refuses.

A guard fails closed: while lines cannot be written, no call is made. The line of a call comes after it, so the calls
that were already under way when writing failed are the only ones without a line; their lines are kept, and written
first once that works again.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import CallDeniedError, ConfigError, one_line
from ..masking import mask
from ..session.user_code import NOT_SENT
from .audit_file import FILE_BYTES, KEPT_FILES, AppendedFile
from .shown_arguments import shown_arguments

logger: logging.Logger = logging.getLogger("jackfield")

_MOST_WAITING = 1000
_MESSAGE_CHARS = 300


class Audit:
    """Writes the lines.

    Args:
        path: The file, for the user alone; see `AppendedFile`.
        max_bytes: It is renamed before it grows beyond this.
        kept_files: How many renamed files are kept.

    Raises:
        ConfigError: It cannot be written.
    """

    def __init__(self, path: Path, *, max_bytes: int = FILE_BYTES, kept_files: int = KEPT_FILES) -> None:
        self._file = AppendedFile(path, max_bytes=max_bytes, kept_files=kept_files)
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        try:
            self._file.open()
        except OSError as error:
            raise ConfigError(
                f"The audit file {path} cannot be written: {_reason(error)}.",
                hint="Give a file in a folder that exists and that you may write to.",
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def is_writable(self) -> bool:
        """Whether calls can be made. Lines that could not be written are, once that is so again."""
        try:
            self._write()
        except OSError:
            return False
        return True

    def require_writable(self, name: str, server: str) -> None:
        """Return if a call may be made: its line can be written, as far as one can know.

        Args:
            name: What is called.
            server: The server that it is of.

        Raises:
            CallDeniedError: It may not.
        """
        try:
            self._write()
        except OSError as error:
            raise CallDeniedError(
                f"The call of '{server}.{name}' was not made: the gateway's audit file cannot be written "
                f"({_reason(error)}). {NOT_SENT}",
                server_name=server,
                sent=False,
                retryable=True,
                hint=f"The gateway's operator must make {self._file.path} writable, or free some space there.",
            ) from None

    def note(self, record: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Write the line of a call.

        Args:
            record: What it says; secrets that are known are masked.
            arguments: Those of the call; masked, and each within a bound.
        """
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        shown = {name: _shown(value) for name, value in record.items()}
        line = {"time": time, **shown, "arguments": shown_arguments(arguments)}
        self._waiting.append(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        try:
            self._write()
        except OSError as error:
            logger.error("[MCP][gateway] The audit file %s cannot be written: %s", self._file.path, _reason(error))

    def _write(self) -> None:
        self._file.open()
        while self._waiting:
            self._file.append(self._waiting[0])
            self._waiting.popleft()


def _shown(value: object) -> object:
    return one_line(mask(value), _MESSAGE_CHARS) if isinstance(value, str) else value


def _reason(error: OSError) -> str:
    return str(error.strerror or error).lower()
