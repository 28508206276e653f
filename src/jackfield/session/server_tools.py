"""The tools of a session's server: fetched once, and shared by all callers who need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp.types import METHOD_NOT_FOUND, ListToolsResult

from ..errors import JackfieldError, RequestError, ServerLimitError, SessionTimeoutError
from ..loops import Deadline
from .calling import Caller
from .listing import SharedListing, ToolListing

if TYPE_CHECKING:
    from .owner import SessionOwner


async def fetch_tools(caller: Caller, deadline: Deadline) -> tuple[ToolListing, ListToolsResult]:
    """Ask the server for its tools, over all pages.

    Raises:
        RequestError: The server has no tools.
    """
    owner = caller.owner
    changes = owner.tool_changes
    pages, problems, raw = await caller.pages(
        "tools/list", deadline, lambda client, cursor: client.list_tools(cursor=cursor)
    )
    tools = [tool for page in pages for tool in page.tools]
    listing = ToolListing(owner.config, tools, owner.on_limit, problems, raw)
    owner.last_listing = listing
    if owner.tool_changes == changes:
        owner.listing = listing
    owner.note_listing_problems("tools/list", listing.problems)
    owner.observer.listed(owner, listing)
    return listing, pages[0].model_copy(update={"tools": listing.tools, "next_cursor": None})


async def known_tools(
    caller: Caller, deadline: Deadline, *, outdated: ToolListing | None = None
) -> tuple[ToolListing | None, RequestError | None]:
    """The tools as last listed, or the server's error. Asks only if they may have changed.

    Args:
        caller: The caller that needs them.
        deadline: The caller's; a running listing is shared with others, which have their own.
        outdated: A listing that must not be used.
    """
    owner = caller.usable()
    while owner.listing is None or owner.listing is outdated:
        shared = owner.shared_listing or _begin_listing(caller)
        if not await shared.wait(deadline):
            raise caller.timed_out("tools/list", deadline, shared.record(), is_cancelled=shared.is_given_up)
        if shared.listing is not None:
            return shared.listing, None
        if isinstance(shared.error, RequestError):
            return None, shared.error.told()
        if shared.error is not None:
            raise caller.noted(shared.error.told())
        caller.usable()
    return owner.listing, None


async def offered_tools(caller: Caller, deadline: Deadline) -> ToolListing | None:
    """As `known_tools`; if the server cannot be asked, its last listing, with an event and a warning.

    Raises:
        JackfieldError: The server cannot be asked, and never could.
    """
    owner = caller.usable()
    try:
        listing, answered = await known_tools(caller, deadline)
        if answered is None or has_none(owner, answered):
            return listing
        error: JackfieldError = answered
    except (SessionTimeoutError, ServerLimitError) as failure:
        error = failure
    owner.reporter.listing_failed("tools/list", error)
    if owner.last_listing is None:
        raise error
    return owner.last_listing


def has_none(owner: SessionOwner, error: RequestError) -> bool:
    """Whether an error instead of a listing means that there are no tools."""
    connection = owner.connection
    if connection is not None and connection.client.server_capabilities.tools is None:
        return True
    return error.rpc_code == METHOD_NOT_FOUND


def _begin_listing(caller: Caller) -> SharedListing:
    """Have a task of the session list the tools.

    Raises:
        SessionTerminatedError: The session has ended.
    """
    owner = caller.usable()
    if owner.tasks is None:
        raise owner.ended(sent=False)
    # With a `Caller` of its own, for the first caller may leave the session before the others have their listing.
    own = Caller(owner)

    async def fetch(deadline: Deadline) -> ToolListing:
        listing, _ = await fetch_tools(own, deadline)
        return listing

    def forget(ended: SharedListing) -> None:
        if owner.shared_listing is ended:
            owner.shared_listing = None

    shared = owner.shared_listing = SharedListing(owner.config.server_name, fetch, forget, lambda: own.last_record)
    owner.tasks.start_soon(shared.run)
    return shared
