"""What runs while a session is open: the idle clock, and watches for a loss, a silent server and changed tools."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import anyio

from ..changed import Changed
from ..errors import AuthenticationError, JackfieldError
from .eras import ping
from .lifecycle import Cause, State

if TYPE_CHECKING:
    from ..catalog.entry import Kind
    from ..transport.connection import Connection
    from ..transport.report import ConnectionReport
    from .listing import RawListing, ToolListing
    from .owner import SessionOwner

# Several changes of the tools within this time lead to one listing.
_RELIST_SECONDS = 0.05


class SessionObserver(Protocol):
    """Callbacks for what a session discovers about its server."""

    def known_version(self, owner: SessionOwner) -> str:
        """The protocol version that the server last spoke; empty if unknown."""
        ...

    def negotiated(self, owner: SessionOwner) -> None:
        """The server is open, and its protocol version known."""
        ...

    def listed(self, owner: SessionOwner, listing: ToolListing) -> None:
        """The server listed its tools."""
        ...

    def offers(self, owner: SessionOwner, kind: Kind, listing: RawListing) -> None:
        """The server listed what else it has of a kind; nothing if it says that it has none."""
        ...

    def failed(self, owner: SessionOwner, error: JackfieldError) -> None:
        """The server could not be opened."""
        ...

    async def tools_changed(self, owner: SessionOwner) -> None:
        """The server announced a change of its tools. Runs in the owner's task as long as the session is open."""
        ...


class IdleClock:
    """Expires unless it is set again in time.

    Every lease sets it twice, so the event loop's timer is only changed if it would expire too late.
    """

    def __init__(self) -> None:
        self._expires_at = math.inf
        self._timer: anyio.CancelScope | None = None

    def set(self, seconds: float | None) -> None:
        """Expire in this many seconds; `None`: never."""
        self._expires_at = math.inf if seconds is None else anyio.current_time() + seconds
        if self._timer is not None and self._expires_at < self._timer.deadline:
            self._timer.deadline = self._expires_at

    async def run(self, on_expiry: Callable[[], None]) -> None:
        """Call a function at every expiry, until cancelled."""
        try:
            while True:
                with anyio.CancelScope(deadline=self._expires_at) as self._timer:
                    await anyio.sleep_forever()
                if anyio.current_time() >= self._expires_at:
                    self._expires_at = math.inf
                    on_expiry()
        finally:
            self._timer = None


class ToolChanges:
    """Has the tools listed again once the server announced a change."""

    def __init__(self) -> None:
        self._is_due = False
        self._announced = Changed()

    def note(self) -> None:
        """A change was announced."""
        self._is_due = True
        self._announced.set()

    async def relist_forever(self, owner: SessionOwner) -> None:
        """Hand changes on to the observer, until cancelled."""
        while True:
            await self._announced.until(lambda: self._is_due)
            await anyio.sleep(_RELIST_SECONDS)
            self._is_due = False
            await owner.observer.tools_changed(owner)


async def watch_loss(owner: SessionOwner, report: ConnectionReport) -> None:
    """Report the end of the connection, once its transport knows of it."""
    await report.lost.wait()
    if owner.state is State.OPEN:
        cause = Cause.DISCONNECTED if report.loss is None else Cause.FORGOTTEN
        owner.lose(cause, report.loss or owner.loss(report))


async def watch_liveness(owner: SessionOwner, interval: float) -> None:
    """Check a server whenever it has been silent for this many seconds, until cancelled."""
    while True:
        silent = time.monotonic() - owner.last_heard_at
        if silent >= interval and not owner.in_flight:
            await owner.check_alive()
            silent = 0.0
        await anyio.sleep(max(interval - silent, 0.001))


async def is_alive(connection: Connection, seconds: float) -> bool:
    """Whether the server answers a ping in time."""
    from mcp import MCPError

    from ..transport.records import CallRecord, current_call

    with anyio.move_on_after(seconds) as scope:
        record = CallRecord("ping", scope=scope)
        token = current_call.set(record)
        try:
            await ping(connection.client)
        except MCPError:
            # Its own error is an answer too: not every server knows this request. So is a status like 405.
            failure = record.failure
            refused = failure is not None and not failure.retryable and not isinstance(failure, AuthenticationError)
            return record.is_answered or refused
        finally:
            current_call.reset(token)
        return True
    return False
