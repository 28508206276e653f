"""What the page needs of the process that keeps sessions between commands. The command has it; a gateway need not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class BackgroundProcess(Protocol):
    """The process, and the sessions that it keeps."""

    async def sessions(self) -> Mapping[str, Any] | None:
        """The process and its sessions, as `jackfield ps --json` has them; `None` if none runs."""
        ...

    async def close(self, server_name: str, key: str | None) -> int:
        """Close the kept sessions of a server, with that key or any; returns their number.

        Raises:
            JackfieldError: It does not answer.
        """
        ...
