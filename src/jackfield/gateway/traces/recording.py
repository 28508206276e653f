"""`Recording`: writes the messages of a manager's sessions to a file, as they pass."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from mcp.types import JSONRPCMessage

from ...errors import ConfigError
from ...session.owner import SessionOwner
from ...transport.report import MessageListener
from .trace import Recorded, first_line


class Recording:
    """A trace that is being written. Enter it while sessions are open.

    Args:
        path: The file, which nobody else can read; an existing one is replaced.
        server_name: Whose messages they are.

    Raises:
        ConfigError: The file cannot be written.
    """

    def __init__(self, path: Path, server_name: str) -> None:
        self.path = path
        self.messages: int = 0
        """How many were written."""
        self.error: OSError | None = None
        """Why no more could be written."""
        self._numbers = itertools.count(1)
        self._began = time.monotonic()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise ConfigError(f"The trace {path} cannot be written: {error.strerror or error}.") from None
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        self._write(first_line(server_name, datetime.now(UTC).isoformat(timespec="seconds")))

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as error:
            self.error = self.error or error

    def of_session(self, owner: SessionOwner) -> MessageListener:
        """What writes the messages of one session."""
        number = next(self._numbers)

        def note(is_sent: bool, message: JSONRPCMessage) -> None:
            plain: Mapping[str, Any] = message.model_dump(mode="json", by_alias=True, exclude_none=True)
            at = time.monotonic() - self._began
            self._write(Recorded(at, number, "server" if is_sent else "client", plain).line())
            self.messages += 1

        return note

    def _write(self, line: str) -> None:
        if self.error is not None or self._file.closed:
            return
        try:
            # Whole lines, at once: what was recorded is there, however this process ends.
            self._file.write(f"{line}\n")
            self._file.flush()
        except OSError as error:
            self.error = error
