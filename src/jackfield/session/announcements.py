"""`Announcements`: what a session's server says unasked, and what is wrong with it: changes of its listings, broken
streams, exceeded limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..config.servers import BaseServerConfig
from ..errors import JackfieldError, ServerLimitError
from ..events import EventHub
from ..logs import SessionLog
from ..masking import masked
from .callbacks import SessionCallbacks, hearing
from .eras import changed_kind
from .reporter import SessionReporter

if TYPE_CHECKING:
    from ..catalog.entry import Kind
    from ..transport.connection import Connection
    from ..transport.report import MessageListener
    from .listing import SharedListing
    from .task import ListingChanges
    from .tools import ToolListing


class Announcements:
    """The part of a session that its server's announcements reach."""

    config: BaseServerConfig
    key: str | None
    session_id: str
    """The same as long as the session lives, recoveries included."""
    events: EventHub
    callbacks: SessionCallbacks
    connection: Connection | None
    """The connection while the session is open, and while an open one is being closed."""
    log: SessionLog
    listing: ToolListing | None
    """The tools as last listed; forgotten when the server says that they changed."""
    shared_listing: SharedListing | None
    """The listing that is being fetched, if any, shared by all waiting callers."""
    tool_changes: int
    """How often the server said that its tools changed: a listing begun before that is out of date."""
    changed_listings: ListingChanges
    listeners: list[Callable[[Any], None]]
    """Get every notification, and `None` when the connection ends."""
    message_listener: MessageListener | None
    """Called with each message of its connections; set by `listen_to_messages`."""

    @cached_property
    def reporter(self) -> SessionReporter:
        """Emits the session's events."""
        return SessionReporter(self.config.server_name, self.key, self.session_id, self.events)

    def listing_changed(self, kind: Kind) -> None:
        """The server announced a change of what it lists."""
        self.listing_outdated(kind)
        if kind == "tools":
            self.reporter.tools_changed()

    def listing_outdated(self, kind: Kind) -> None:
        """What the server lists may have changed, which it had no way to announce."""
        self.changed_listings.note(kind)
        if kind == "tools":
            self._forget_listing()

    def stream_renewed(self, resumed: bool) -> None:
        """A stream of the connection broke and was opened again."""
        self.log.info("Stream renewed%s", " and resumed" if resumed else "")
        self.reporter.renewed(resumed)
        if not resumed:
            self._forget_listing()  # A change of it may have been told while nobody listened.

    def _forget_listing(self) -> None:
        self.listing = self.shared_listing = None
        self.tool_changes += 1

    def on_limit(self, error: ServerLimitError) -> None:
        """Report that the server went beyond a limit."""
        self.log.warning("%s", error.message)
        self.reporter.reached_limit(error)

    def note_listing_problems(self, method: str, problems: Sequence[str]) -> None:
        """Report a listing's problems; the valid parts are used."""
        if problems:
            problems = masked(list(problems))
            self.log.warning("The answer to %s does not conform to the protocol: %s", method, "; ".join(problems))
            self.reporter.listing_problem(method, problems)

    def listing_failed(self, method: str, error: JackfieldError) -> None:
        """Report that a listing could not be fetched."""
        self.log.warning("Its %s could not be listed: %s", method.partition("/")[0], error.message)
        self.reporter.listing_failed(method, error)

    async def on_notification(self, message: Any) -> None:
        """Handle a notification of the server."""
        if (kind := changed_kind(message)) is not None:
            self.listing_changed(kind)
        for listener in list(self.listeners):
            listener(message)
        if self.callbacks.notification is not None:
            await hearing(self.callbacks.notification, "notification")(message)

    def listen_to_messages(self, listener: MessageListener | None) -> None:
        """Have each message of the session, on the wire, given to a listener, recoveries included; `None` ends that."""
        self.message_listener = listener
        if self.connection is not None:
            self.connection.report.message_listener = listener
