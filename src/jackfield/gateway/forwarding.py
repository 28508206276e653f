"""What a request needs may be with another instance of the gateway, which then answers it."""

from __future__ import annotations

from typing import Protocol


class ElsewhereError(Exception):
    """What a request needs is with another instance.

    Args:
        instance: Which has it.
        server_name: Whose session it is; `None` if it is a call or a session that has a name of its own.
        gone: The error if that instance is gone, and with it what has a name of its own.
    """

    def __init__(self, instance: str, server_name: str | None, gone: Exception | None = None) -> None:
        super().__init__(instance)
        self.instance = instance
        self.server_name = server_name
        self.gone = gone


class Marks(Protocol):
    """By what instances know each other's calls."""

    @property
    def mark(self) -> str:
        """What a `requestState` of this instance begins with."""
        ...

    def marked(self, state: str) -> str | None:
        """The instance whose mark a `requestState` has, if any has it."""
        ...
