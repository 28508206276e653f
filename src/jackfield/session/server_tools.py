"""The tools of a session's server: fetched once, and shared by all callers who need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from mcp.types import METHOD_NOT_FOUND, ListToolsResult

from ..errors import JackfieldError, RequestError, ServerLimitError, SessionTimeoutError
from .boundary import as_error
from .calling import Caller
from .deadlines import Deadline
from .listing import ToolListing

if TYPE_CHECKING:
    from .owner import SessionOwner


async def fetch_tools(caller: Caller, deadline: Deadline) -> tuple[ToolListing, ListToolsResult]:
    """Ask the server for its tools, over all pages.

    Raises:
        RequestError: The server has no tools.
    """
    owner = caller.owner
    changes = owner.tool_changes
    pages, problems = await caller.pages(
        "tools/list", deadline, lambda client, cursor: client.list_tools(cursor=cursor)
    )
    listing = ToolListing(owner.config, [tool for page in pages for tool in page.tools], owner.on_limit, problems)
    owner.last_listing = listing
    if owner.tool_changes == changes:
        owner.listing = listing
    owner.note_listing_problems("tools/list", listing.problems)
    owner.observer.listed(owner, listing)
    return listing, pages[0].model_copy(update={"tools": listing.tools, "next_cursor": None})


async def known_tools(
    caller: Caller, deadline: Deadline, *, outdated: ToolListing | None = None
) -> tuple[ToolListing | None, RequestError | None]:
    """The tools as last listed, or the error that the server answered with. Asks only where they may have changed.

    Args:
        caller: Needs them.
        deadline: Of this caller; a listing under way is shared with others, who have their own.
        outdated: A listing that is not to be taken any more.
    """
    owner = caller.usable()
    while owner.listing is None or owner.listing is outdated:
        shared = owner.shared_listing or SharedListing.begin(caller)
        await shared.wait(caller, deadline)
        if shared.listing is not None:
            return shared.listing, None
        if isinstance(shared.error, RequestError):
            return None, shared.error.told()
        if shared.error is not None:
            raise caller.noted(shared.error.told())
        caller.usable()
    return owner.listing, None


async def offered_tools(caller: Caller, deadline: Deadline) -> ToolListing | None:
    """As `known_tools`; where the server cannot be asked, its last listing, with an event and a warning.

    Raises:
        JackfieldError: The server cannot be asked, and never could.
    """
    owner = caller.usable()
    try:
        listing, answered = await known_tools(caller, deadline)
        if answered is None or _has_none(owner, answered):
            return listing
        error: JackfieldError = answered
    except (SessionTimeoutError, ServerLimitError) as failure:
        error = failure
    owner.tell.listing_failed("tools/list", error)
    if owner.last_listing is None:
        raise error
    return owner.last_listing


def _has_none(owner: SessionOwner, error: RequestError) -> bool:
    """Whether an error in the place of a listing says that there are no tools."""
    connection = owner.connection
    if connection is not None and connection.client.server_capabilities.tools is None:
        return True
    return error.rpc_code == METHOD_NOT_FOUND


class SharedListing:
    """A listing of tools that a task of the session fetches for all callers who wait for it.

    Each caller waits until its own deadline. The listing is cancelled once the last of them has left.
    """

    def __init__(self, caller: Caller) -> None:
        # With a `Caller` of its own, for the first caller may leave the session before the others have their listing.
        self._caller = Caller(caller.owner, caller.on_idle)
        self._deadline = Deadline.after(0.0)
        """That of the caller who waits longest."""
        self._waiting = 0
        self._done = anyio.Event()
        self._scope = anyio.CancelScope()
        self.listing: ToolListing | None = None
        self.error: JackfieldError | None = None
        """Why there is no listing. There is neither where the session has ended."""

    @classmethod
    def begin(cls, caller: Caller) -> SharedListing:
        """Have the session begin one.

        Raises:
            SessionTerminatedError: The session has ended.
        """
        owner = caller.usable()
        if owner.tasks is None:
            raise owner.ended(sent=False)
        shared = owner.shared_listing = cls(caller)
        owner.tasks.start_soon(shared._fetch)
        return shared

    async def _fetch(self) -> None:
        try:
            with self._scope:
                self.listing, _ = await fetch_tools(self._caller, self._deadline)
        except Exception as error:
            # It may not end the session's task, whose child this is.
            self.error = as_error(error, "The listing of tools", server_name=self._caller.owner.config.server_name)
        finally:
            self._leave_owner()
            self._done.set()

    def _leave_owner(self) -> None:
        owner = self._caller.owner
        if owner.shared_listing is self:
            owner.shared_listing = None

    async def wait(self, caller: Caller, deadline: Deadline) -> None:
        """Wait until it has ended.

        Raises:
            SessionTimeoutError: Out of time.
        """
        self._waiting += 1
        self._deadline.extend(deadline.at)
        try:
            with deadline.scope() as scope:
                await self._done.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._leave_owner()
                self._scope.cancel()
        # Its deadline may be that of this caller, and be noticed first over there.
        if scope.cancelled_caught or (isinstance(self.error, SessionTimeoutError) and deadline.has_passed):
            raise caller.timed_out("tools/list", deadline, self._caller.last_record, is_cancelled=not self._waiting)
