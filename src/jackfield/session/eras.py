"""What the two protocol eras do differently on an open connection. The SDK is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import anyio

from ..catalog.entry import Kind
from ..errors import AuthenticationError

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import LoggingLevel

    from ..transport.report import ConnectionReport

# Of a listing that is fetched within a call.
_MAX_PAGES = 100

_CHANGES: Mapping[str, Kind] = {
    "notifications/tools/list_changed": "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
    "ToolsListChanged": "tools",
    "PromptsListChanged": "prompts",
    "ResourcesListChanged": "resources",
}
"""By the method of a notification, or by what the SDK calls an event of a stream."""


def is_modern(client: Client) -> bool:
    """Whether it speaks the protocol of 2026-07-28, or a newer one."""
    from mcp.types.version import MODERN_PROTOCOL_VERSIONS

    return client.protocol_version in MODERN_PROTOCOL_VERSIONS


async def is_listed(client: Client, name: str) -> bool:
    """List until the SDK has seen the tool's schema, of which it makes headers."""
    from mcp import MCPError
    from pydantic import ValidationError

    try:
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            if any(tool.name == name for tool in page.tools):
                return True
            cursor = page.next_cursor
            if not cursor:
                break
    except (MCPError, ValidationError):
        pass
    return False


async def ping(client: Client) -> None:
    """Make one round trip that changes nothing.

    Source: MCP 2025-11-25, basic/utilities/ping; 2026-07-28 has no ping, `server/discover` serves.
    """
    if is_modern(client):
        await client.session.send_discover(client.protocol_version)
    else:
        await client.session.send_ping()


async def is_alive(client: Client, seconds: float) -> bool:
    """Whether the server answers a ping in time."""
    from mcp import MCPError

    from ..transport.report import CallRecord, current_call

    with anyio.move_on_after(seconds) as scope:
        record = CallRecord("ping", scope=scope)
        token = current_call.set(record)
        try:
            await ping(client)
        except MCPError:
            # Its own error is an answer too: not every server knows this request. So is a status like 405.
            failure = record.failure
            refused = failure is not None and not failure.retryable and not isinstance(failure, AuthenticationError)
            return record.is_answered or refused
        finally:
            current_call.reset(token)
        return True
    return False


async def set_logging_level(client: Client, level: LoggingLevel) -> None:
    """Ask for log messages, in the older protocol; the SDK's own method warns that it is the older one."""
    from mcp.types import EmptyResult, SetLevelRequest, SetLevelRequestParams

    await client.session.send_request(SetLevelRequest(params=SetLevelRequestParams(level=level)), EmptyResult)


async def ask_for_log(client: Client, level: LoggingLevel | None) -> None:
    """Request log messages if the protocol version has a request for that."""
    if level and client.server_capabilities.logging and client.session.initialize_result is not None:
        await set_logging_level(client, level)


def changed_kind(message: object) -> Kind | None:
    """What a server says has changed, by a notification or on a stream of changes; `None` for any other message."""
    method = getattr(message, "method", "") or type(message).__name__
    return _CHANGES.get(method)


async def watch_listings(
    client: Client,
    report: ConnectionReport,
    on_change: Callable[[Kind], None],
    on_missed: Callable[[Kind], None],
    on_renewed: Callable[[bool], None],
    was_used: Callable[[], bool],
) -> None:
    """Listen for changes of listings, as long as the connection lives: since 2026-07-28 they are told only to who
    listens. Returns immediately if there is nothing to listen to.

    Args:
        client: The connection.
        report: Of the connection.
        on_change: Called with each change.
        on_missed: Called where one may have been missed before the stream was open.
        on_renewed: Called with false when the stream broke and was opened again: a change may have been missed.
        was_used: Whether tools were called already: such a call may have changed them before the stream was open.
    """
    from mcp import MCPError
    from mcp.client.subscriptions import SubscriptionLost

    declared = client.server_capabilities
    tools, prompts, resources = (
        bool(one and one.list_changed) for one in (declared.tools, declared.prompts, declared.resources)
    )
    if not is_modern(client) or not (tools or prompts or resources):
        return
    attempt = 0
    while True:
        try:
            async with client.listen(
                tools_list_changed=tools, prompts_list_changed=prompts, resources_list_changed=resources
            ) as changes:
                if attempt:
                    on_renewed(False)
                elif tools and was_used():
                    on_missed("tools")
                attempt = 1
                async for change in changes:
                    if (kind := changed_kind(change)) is not None:
                        on_change(kind)
        except SubscriptionLost as error:
            report.log.debug("The stream of change notifications ended: %s", error)
        except (MCPError, TimeoutError) as error:
            if not attempt:
                # Without the stream a stale listing is noticed by the first call that does not fit it.
                report.log.debug("The stream of change notifications could not be opened: %s", error)
                return
        attempt += 1
        await anyio.sleep(report.config.session.wait_before(attempt))
