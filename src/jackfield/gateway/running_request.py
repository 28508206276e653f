"""`RunningRequest`: one request of a client, from when it is passed on to a server until its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from .messages import Context

if TYPE_CHECKING:
    from ..loops import Deadline
    from .parked import ParkedCall


class RunningRequest:
    """A request that a server works on. What the server asks and tells meanwhile goes to the client by it.

    Args:
        context: Of the request.
        deadline: Of the server's answer.
        parked: The call that waits while the client answers questions, where the protocol has it answer by retrying.
    """

    def __init__(self, context: Context, deadline: Deadline, parked: ParkedCall | None = None) -> None:
        self._context = context
        self._deadline = deadline
        self.parked: ParkedCall | None = parked
        self.is_over: bool = False
        """Whether it has its answer: nothing can be sent about it any more."""

    @property
    def context(self) -> Context:
        """Of the request, or of the client's last retry of it."""
        return self._context if self.parked is None else self.parked.context

    def allow(self, seconds: float) -> None:
        """Let the server's answer take that much longer: it waits for the client itself."""
        self._deadline.extend(anyio.current_time() + self._deadline.seconds_left + seconds)
