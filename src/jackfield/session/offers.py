"""What a server offers: its tools, fetched once and shared by all callers who need them, and its other listings."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mcp.types import (
    METHOD_NOT_FOUND,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
)

from ..catalog.entry import CAPABILITIES, KINDS, Kind, RawListing
from ..errors import JackfieldError, RequestError, ServerLimitError, SessionTimeoutError
from ..loops import Deadline
from ..transport.report import current_call
from .calling import Caller
from .listing import PageT, SharedListing, all_pages, tool_listing

if TYPE_CHECKING:
    from mcp import Client

    from .owner import SessionOwner
    from .tools import ToolListing

_ListingT = TypeVar("_ListingT", ListResourcesResult, ListResourceTemplatesResult, ListPromptsResult)

# Tools that were listed so shortly ago in the same session are not listed again.
_FRESH_SECONDS = 1.0

METHODS: Mapping[Kind, str] = {
    "tools": "tools/list",
    "prompts": "prompts/list",
    "resources": "resources/list",
    "templates": "resources/templates/list",
}
_FETCHES: Mapping[Kind, Callable[[Client, str | None], Awaitable[Any]]] = {
    "prompts": lambda client, cursor: client.list_prompts(cursor=cursor),
    "resources": lambda client, cursor: client.list_resources(cursor=cursor),
    "templates": lambda client, cursor: client.list_resource_templates(cursor=cursor),
}


async def fetch_tools(caller: Caller, deadline: Deadline) -> tuple[ToolListing, ListToolsResult]:
    """Ask the server for its tools, over all pages.

    Raises:
        RequestError: The server has no tools.
    """
    owner = caller.owner
    changes = owner.tool_changes
    pages, problems, raw = await _pages(
        caller, "tools/list", deadline, lambda client, cursor: client.list_tools(cursor=cursor)
    )
    tools = [tool for page in pages for tool in page.tools]
    listing = tool_listing(owner.config, tools, owner.on_limit, problems, raw)
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
    owner.listing_failed("tools/list", error)
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


async def listed_pages(caller: Caller, kind: Kind, deadline: Deadline) -> list[Any]:
    """The pages of a listing that a server may lack even if it declares the capability.

    Args:
        caller: Of the session.
        kind: Of what; tools have `known_tools`.
        deadline: For all pages.
    """
    owner, method = caller.owner, METHODS[kind]
    try:
        pages, problems, raw = await _pages(caller, method, deadline, _FETCHES[kind])
    except RequestError as error:
        if error.rpc_code != METHOD_NOT_FOUND:
            raise
        pages, problems, raw = list[Any](), list[str](), RawListing()
    owner.note_listing_problems(method, problems)
    owner.observer.offers(owner, kind, raw)
    return pages


async def fetch_resources(caller: Caller, deadline: Deadline) -> ListResourcesResult:
    """Ask the server for its resources, over all pages; none if it does not support the request."""
    pages = await listed_pages(caller, "resources", deadline)
    return _joined(pages, ListResourcesResult(resources=[resource for page in pages for resource in page.resources]))


async def fetch_templates(caller: Caller, deadline: Deadline) -> ListResourceTemplatesResult:
    """Ask the server for its resource templates, over all pages; none if it does not support the request."""
    pages = await listed_pages(caller, "templates", deadline)
    templates = [template for page in pages for template in page.resource_templates]
    return _joined(pages, ListResourceTemplatesResult(resource_templates=templates))


async def fetch_prompts(caller: Caller, deadline: Deadline) -> ListPromptsResult:
    """Ask the server for its prompts, over all pages; none if it does not support the request."""
    pages = await listed_pages(caller, "prompts", deadline)
    return _joined(pages, ListPromptsResult(prompts=[prompt for page in pages for prompt in page.prompts]))


def _joined(pages: Sequence[Any], listing: _ListingT) -> _ListingT:
    """One listing of all pages, with what else the first of them says."""
    if not pages:
        return listing
    entries = {name: getattr(listing, name) for name in listing.model_fields_set}
    return pages[0].model_copy(update={**entries, "next_cursor": None})


async def list_for_catalog(caller: Caller, deadline: Deadline, kinds: Collection[Kind] = KINDS) -> None:
    """Have a server list all that it says it has; the session's observer records it.

    A listing besides that of tools costs only itself if the server refuses it: it is logged.

    Args:
        caller: Of the session.
        deadline: For all of it.
        kinds: These only.

    Raises:
        RequestError: The server has tools, and did not list them.
        JackfieldError: It did not answer.
    """
    owner = caller.owner
    connection = await owner.ready()
    declared = connection.report.capabilities
    if "tools" in kinds:
        # Also of a server that does not declare any: some list them all the same.
        await _list_tools(caller, deadline)
    for kind in kinds:
        try:
            if kind == "tools":
                continue
            if CAPABILITIES[kind] in declared:
                await listed_pages(caller, kind, deadline)
            else:
                owner.observer.offers(owner, kind, RawListing())
        except RequestError as error:
            owner.listing_failed(METHODS[kind], error)


async def _list_tools(caller: Caller, deadline: Deadline) -> None:
    owner = caller.owner
    known = owner.listing
    is_fresh = known is not None and time.monotonic() - known.fetched_at < _FRESH_SECONDS
    _, refused = await known_tools(caller, deadline, outdated=None if is_fresh else known)
    if refused is None:
        return
    if not has_none(owner, refused):
        raise refused
    owner.observer.listed(owner, tool_listing(owner.config, [], owner.on_limit))


async def _pages(
    caller: Caller, method: str, deadline: Deadline, fetch: Callable[[Client, str | None], Awaitable[PageT]]
) -> tuple[list[PageT], list[str], RawListing]:
    """All pages of a listing, what was wrong with them, and how they came; see `all_pages`."""
    raw: list[Mapping[str, Any]] = []

    async def fetched(client: Client, cursor: str | None) -> PageT:
        page = await fetch(client, cursor)
        record = current_call.get()
        page_as_it_came = record.page if record is not None else None
        assert page_as_it_came is not None, "the transport keeps what it hands on"
        raw.append(page_as_it_came)
        return page

    pages, problems = await all_pages(
        caller.owner.config,
        lambda cursor: caller.request(method, deadline, lambda client: fetched(client, cursor)),
    )
    return pages, problems, RawListing.of(raw)
