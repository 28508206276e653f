"""An MCP server that offers everything the protocol has, written with the SDK.

Run: everything.py stdio | sse | streamable-http [--port N]
"""

from __future__ import annotations

import base64
import sys
from enum import Enum
from pathlib import Path

import anyio

# The examples' servers bind and announce in the same way.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "research_assistant" / "servers"))

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    Completion,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from pydantic import BaseModel
from serving import run

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
server = MCPServer("everything", instructions="Try it all.")
counts = {"calls": 0, "listed": 0}


class Size(Enum):
    small = "small"
    large = "large"


class Item(BaseModel):
    name: str
    size: Size = Size.small


class Order(BaseModel):
    customer: str
    items: list[Item]
    note: str | None = None


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def count() -> int:
    """How often this process was asked."""
    counts["calls"] += 1
    return counts["calls"]


@server.tool(structured_output=False)
def arguments(value: dict | list | str | int | float | bool | None = None) -> str:
    """What arrived, as Python writes it."""
    return repr(value)


@server.tool()
def order(order: Order, express: bool = False) -> str:
    """Take an order."""
    return f"{order.customer}: {', '.join(item.name for item in order.items)}{' (express)' if express else ''}"


@server.tool(structured_output=False)
def picture() -> CallToolResult:
    """A picture and a word about it."""
    return CallToolResult(
        content=[
            TextContent(type="text", text="One pixel:"),
            ImageContent(type="image", data=PNG, mime_type="image/png"),
        ]
    )


@server.tool(structured_output=False)
def media() -> CallToolResult:
    """Everything that is no text."""
    data = base64.b64encode(b"bytes").decode()
    return CallToolResult(
        content=[
            AudioContent(type="audio", data=data, mime_type="audio/wav"),
            EmbeddedResource(type="resource", resource=TextResourceContents(uri="notes://one", text="a text")),
            EmbeddedResource(type="resource", resource=BlobResourceContents(uri="notes://two", blob=data)),
            ResourceLink(type="resource_link", name="three", uri="notes://three", description="a link"),
        ]
    )


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
def fail(why: str = "on purpose") -> str:
    """Fails."""
    raise ToolError(why)


@server.tool()
async def slow(seconds: float, log: str, ctx: Context) -> str:
    """Reports progress, and writes to `log` whether it was cancelled."""
    try:
        await ctx.report_progress(0.5, 1.0, "half way")
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
        Path(log).write_text("cancelled")
        raise
    Path(log).write_text("done")
    return "done"


@server.tool()
async def add_tool(name: str, ctx: Context) -> str:
    """Offer one tool more, and say so."""
    server.add_tool(lambda: name, name=name, description=f"Says {name}.")
    await ctx.notify_tools_changed()
    if ctx.protocol_version == "2025-11-25":
        await ctx.session.send_tool_list_changed()
    return name


@server.tool()
async def touch(uri: str, ctx: Context) -> str:
    """Say that a resource changed."""
    await ctx.notify_resource_updated(uri)
    if ctx.protocol_version == "2025-11-25":
        await ctx.session.send_resource_updated(uri)
    return uri


class Answer(BaseModel):
    name: str


@server.tool()
async def ask_user(ctx: Context) -> str:
    """Ask the user's name."""
    result = await ctx.elicit("Who are you?", Answer)
    return f"{result.action}: {getattr(getattr(result, 'data', None), 'name', '')}"


@server.tool()
async def headers(name: str, ctx: Context) -> str:
    """A header of this request."""
    return (ctx.headers or {}).get(name, "(none)")


@server.tool(name="odd.name/with:colons")
def odd() -> str:
    """A tool whose name no model API takes."""
    return "odd"


@server.tool(name="n" * 80)
def long_name() -> str:
    """A tool whose name is too long for model APIs."""
    return "long"


@server.resource("notes://today", mime_type="text/plain")
def today() -> str:
    """Today's notes."""
    return "milk, eggs"


@server.resource("notes://binary", mime_type="application/octet-stream")
def binary() -> bytes:
    """Bytes."""
    return b"\x00\x01\x02"


@server.resource("notes://{day}/{number}", mime_type="text/plain")
def note(day: str, number: str) -> str:
    """One note of a day."""
    return f"note {number} of {day}"


@server.prompt()
def summarize(topic: str, style: str = "short") -> str:
    """Ask for a summary."""
    return f"Summarize {topic} in a {style} way."


@server.completion()
async def complete(ref: object, argument: object, context: object) -> Completion:
    """Styles."""
    return Completion(values=[style for style in ("short", "shrill", "long") if style.startswith(argument.value)])  # type: ignore[attr-defined]


if __name__ == "__main__":
    run(server, "stdio")
