"""Makes toolkits: of one open session, or of all servers of a manager."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
from mcp import InvalidUriTemplate
from mcp.types import ListPromptsResult, ListResourcesResult, ListResourceTemplatesResult, ResourceTemplate

from ..config.servers import BaseServerConfig
from ..errors import ConfigError, JackfieldError, RequestError, listed
from ..logs import SessionLog
from ..loops import Deadline
from ..pool.registry import SessionUser
from ..session.offers import offered_tools
from ..session.session import Session, caller_of
from .resources import Opened, download_folder, prompt_tool, resource_tool, template_tool
from .skipped import OnError, missing_tool, require_on_error, skipped_error
from .tool import LeasedSource, OrderedSource, Tool, ToolSource, server_tool
from .toolkit import Toolkit, is_wanted

if TYPE_CHECKING:
    from ..pool.session_manager import SessionManager
    from ..session.tools import ToolListing

_ListingT = TypeVar("_ListingT", ListResourcesResult, ListResourceTemplatesResult, ListPromptsResult)


async def create_toolkit(
    session: Session,
    *,
    use_mcp_tools: bool = True,
    use_mcp_resources: bool = True,
    use_mcp_prompts: bool = False,
    resource_download_folder: Path | str | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    ordered: bool = False,
) -> Toolkit:
    """Create a toolkit from an open session's tools. It works as long as the session is open.

    Args:
        session: The session.
        use_mcp_tools: Include the server's tools.
        use_mcp_resources: Add a tool for each resource template, and `read_resource` if there are resources.
        use_mcp_prompts: Add a tool for each prompt.
        resource_download_folder: Save resources there instead of returning their content.
        include: Globs of the names to include; those of the server's config if omitted.
        exclude: Globs of the names to exclude; those of the server's config if omitted.
        ordered: Make calls sequentially, in the order in which they are requested.

    Raises:
        ConfigError: This is not a Jackfield session, or `include` or `exclude` is not a list.
        JackfieldError: The server could not be asked.
    """
    let_in = None if include is None else listed("include", include)
    keep_out = None if exclude is None else listed("exclude", exclude)
    if not isinstance(session, Session):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"A toolkit requires an open Jackfield session, not a {type(session).__name__}.",
            hint="Open one: async with MCPClientSessionManager().open_session(server) as session: ...",
        )
    config = session.config
    capabilities = session.server_capabilities
    folder = download_folder(resource_download_folder) if resource_download_folder else None
    tools: list[Tool] = []
    if use_mcp_tools and capabilities.tools is not None:
        listing = await session.list_tools()
        source = OrderedSource(session) if ordered else session
        tools += [server_tool(source, config, tool) for tool in listing.tools]
    if use_mcp_resources and capabilities.resources is not None:
        templates = await _offered("resource templates", session, session.list_resource_templates())
        for template in templates.resource_templates if templates else []:
            tools += _template_tools(session, template, folder)
        resources = await _offered("resources", session, session.list_resources())
        if resources and resources.resources:
            tools.append(resource_tool(session, resources.resources, folder))
    if use_mcp_prompts:

        @asynccontextmanager
        async def opened(deadline: Deadline) -> AsyncGenerator[Session]:
            yield session

        tools += await prompt_tools(session, opened)
    let_in, keep_out = config.include if let_in is None else let_in, config.exclude if keep_out is None else keep_out
    return Toolkit(tool for tool in tools if is_wanted(tool, let_in, keep_out))


async def _offered(what: str, session: Session, listing: Awaitable[_ListingT]) -> _ListingT | None:
    """A listing, or `None` if the server answers with an error, which must not affect the tools."""
    try:
        return await listing
    except RequestError as error:
        _log(session).warning("The toolkit omits %s: %s", what, error.message)
        return None


async def prompt_tools(session: Session, opened: Opened) -> list[Tool]:
    """A tool for each prompt of an open session's server, which is filled in through `opened`."""
    if session.server_capabilities.prompts is None:
        return []
    prompts = await _offered("prompts", session, session.list_prompts())
    return [prompt_tool(session.config, prompt, opened) for prompt in (prompts.prompts if prompts else [])]


def _template_tools(session: Session, template: ResourceTemplate, folder: Path | None) -> list[Tool]:
    try:
        return [template_tool(session, template, folder)]
    except InvalidUriTemplate as error:
        _log(session).warning("The toolkit omits a resource template: %s", error)
        return []


def _log(session: Session) -> SessionLog:
    return SessionLog(session.server_name, session.session_id)


async def manager_toolkit(
    manager: SessionManager,
    servers: Sequence[str | BaseServerConfig] | None,
    *,
    key: str | None = None,
    ordered: bool = False,
    on_error: OnError = "skip",
    keeps_sessions: bool = True,
) -> Toolkit:
    """A toolkit of several servers' tools; see `MCPClientSessionManager.toolkit`.

    If it does not keep sessions, a manager that is not entered opens one for each call, as LangChain's clients do.
    """
    require_on_error(on_error)
    own_key = key or f"toolkit-{uuid.uuid4().hex[:8]}"
    configs = manager.inside.resolve_all(servers)
    tools: list[Tool] = []
    skipped: dict[str, JackfieldError] = {}
    user = SessionUser() if keeps_sessions else None
    try:
        async with manager.open_sessions(configs, key=own_key).used_by(user) as opened:
            for config in configs:
                try:
                    session = opened[config.server_name]
                    source = LeasedSource(manager, config, own_key, user)
                    tools += await leased_tools(session, OrderedSource(source) if ordered else source)
                except JackfieldError as error:
                    if on_error == "raise":
                        raise
                    skipped[config.server_name] = error
        if skipped and len(skipped) == len(configs):
            raise skipped_error(skipped, len(configs))
    except BaseException:
        if user is not None:
            with anyio.CancelScope(shield=True):
                await manager.inside.end_user(user)
        raise
    for name, error in skipped.items():
        manager.inside.server_skipped(name, own_key, error)
    if skipped:
        tools.append(missing_tool(skipped, len(configs)))
    return Toolkit(tools, close=() if user is None else partial(manager.inside.end_user, user), skipped=skipped)


async def leased_tools(session: Session, source: ToolSource) -> list[Tool]:
    """The tools of a server as its open session lists them, called through `source`."""
    caller = caller_of(session)
    return tools_of(await offered_tools(caller, caller.deadline(None)), session.config, source)


def tools_of(listing: ToolListing | None, config: BaseServerConfig, source: ToolSource) -> list[Tool]:
    """The tools of a listing that the configuration lets in, called through `source`."""
    listed = listing.tools if listing is not None else []
    tools = [server_tool(source, config, tool) for tool in listed]
    return [tool for tool in tools if is_wanted(tool, config.include, config.exclude)]
