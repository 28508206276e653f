"""What a server offers: the listings besides that of tools, and all of them for the catalog."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from mcp.types import METHOD_NOT_FOUND

from ..catalog.entry import CAPABILITIES, KINDS, Kind
from ..errors import RequestError
from .listing import RawListing, ToolListing
from .server_tools import has_none, known_tools

if TYPE_CHECKING:
    from mcp import Client

    from ..loops import Deadline
    from .calling import Caller

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


async def listed_pages(caller: Caller, kind: Kind, deadline: Deadline) -> list[Any]:
    """The pages of a listing that a server may lack even if it declares the capability.

    Args:
        caller: Of the session.
        kind: Of what; tools have `known_tools`.
        deadline: For all pages.
    """
    owner, method = caller.owner, METHODS[kind]
    try:
        pages, problems, raw = await caller.pages(method, deadline, _FETCHES[kind])
    except RequestError as error:
        if error.rpc_code != METHOD_NOT_FOUND:
            raise
        pages, problems, raw = list[Any](), list[str](), RawListing()
    owner.note_listing_problems(method, problems)
    owner.observer.offers(owner, kind, raw)
    return pages


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
            owner.reporter.listing_failed(METHODS[kind], error)


async def _list_tools(caller: Caller, deadline: Deadline) -> None:
    owner = caller.owner
    known = owner.listing
    is_fresh = known is not None and time.monotonic() - known.fetched_at < _FRESH_SECONDS
    _, refused = await known_tools(caller, deadline, outdated=None if is_fresh else known)
    if refused is None:
        return
    if not has_none(owner, refused):
        raise refused
    owner.observer.listed(owner, ToolListing(owner.config, [], owner.on_limit))
