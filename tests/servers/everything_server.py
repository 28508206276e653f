"""An MCP server that offers everything the protocol has, written with the SDK; `everything.py` runs it.

It is a module of its own, so that programs that `forked.py` starts have it already: to make it takes the SDK 20 ms.
"""

from __future__ import annotations

import base64
import json
import logging
import struct
import zlib
from enum import Enum
from pathlib import Path
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer, ResourceSecurity, UserMessage
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

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
server = MCPServer("everything", instructions="Try it all.")
counts = {"calls": 0, "listed": 0}


async def watch(ctx: Any, call_next: Any) -> Any:
    """Count listings; answer `free_form` before the SDK looks at its arguments."""
    if ctx.method == "tools/list":
        counts["listed"] += 1
    if ctx.method == "tools/call" and ctx.params["name"] == "free_form":
        text = json.dumps(ctx.params.get("arguments"), sort_keys=True)
        return CallToolResult(content=[TextContent(type="text", text=text)])
    return await call_next(ctx)


server.middleware.append(watch)


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


@server.tool()
def listed() -> int:
    """How often this process was asked for its tools."""
    return counts["listed"]


@server.tool(structured_output=False)
def free_form() -> str:
    """Takes any arguments, and gives them back as JSON."""
    raise NotImplementedError("answered by `watch`")


free_form_tool = server._tool_manager.get_tool("free_form")
assert free_form_tool
free_form_tool.parameters = {"type": "object", "additionalProperties": True}


@server.tool(structured_output=False)
def preferences(size: Size = Size.small, limit: int | str | None = None, tags: list[str] | None = None) -> str:
    """An enum, a union and an optional list."""
    return f"{size.value} {limit!r} {tags!r}"


@server.tool()
def receipt(customer: str) -> Order:
    """An order as structured content."""
    return Order(customer=customer, items=[Item(name="tea", size=Size.large)])


@server.tool()
async def steps(count: int, ctx: Context) -> str:
    """Report progress step by step."""
    for step in range(count):
        await ctx.report_progress(step + 1, count, f"step {step + 1}")
    return f"{count} steps"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of hardly any bytes that says it is so large."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"\0")) + png_chunk(b"IEND", b"")


BAD_PICTURES = {
    "no base64": "!",
    "no picture": base64.b64encode(b"no picture").decode(),
    "cut short": base64.b64encode(base64.b64decode(PNG)[:45]).decode(),
    "bad checksum": base64.b64encode(base64.b64decode(PNG).replace(b"IDAT", b"IDAX")).decode(),
    "a bomb": base64.b64encode(png_claiming(60_000, 60_000)).decode(),
}


@server.tool(structured_output=False)
def bad_picture(kind: str) -> CallToolResult:
    """A picture that cannot be shown, and a word about it."""
    return CallToolResult(
        content=[
            TextContent(type="text", text=f"{kind}:"),
            ImageContent(type="image", data=BAD_PICTURES[kind], mime_type="image/png"),
        ]
    )


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


def write_whole(log: str, text: str) -> None:
    """Write it so that who waits for the file finds it whole."""
    if Path(log).exists() and not Path(log).is_file():
        raise ToolError(f"{log} is no file")  # root would replace even /dev/null
    Path(f"{log}.new").write_text(text)
    Path(f"{log}.new").rename(log)


@server.tool()
async def slow(seconds: float, log: str, ctx: Context) -> str:
    """Reports progress, and writes to `log` whether it was cancelled; `log`.started is there once it runs."""
    Path(f"{log}.started").touch()
    try:
        await ctx.report_progress(0.5, 1.0, "half way")
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
        write_whole(log, "cancelled")
        raise
    write_whole(log, "done")
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
async def remove_tool(name: str, ctx: Context, quietly: bool = False) -> str:
    """Offer one tool less, and say so unless `quietly`."""
    server.remove_tool(name)
    if not quietly:
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


validation = logging.getLogger("mcp.shared.tool_name_validation")
validation.setLevel(logging.ERROR)  # to warn of this name, rich draws half a page


@server.tool(name="odd.name/with:colons")
def odd() -> str:
    """A tool whose name no model API takes."""
    return "odd"


validation.setLevel(logging.NOTSET)


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


def offer_more() -> None:
    """What is awkward to make tools of."""
    unguarded = ResourceSecurity(reject_path_traversal=False, reject_absolute_paths=False, reject_null_bytes=False)

    @server.resource("files://{name}", mime_type="text/plain", security=unguarded)
    def file(name: str) -> str:
        """A file, by a name that is one part of the path."""
        return f"name {name}"

    @server.resource("tree://{+path}", mime_type="text/plain", security=unguarded)
    def tree(path: str) -> str:
        """A file, by a path with slashes."""
        return f"path {path}"

    @server.resource("search://{topic}{?limit,language}", mime_type="text/plain")
    def found(topic: str, limit: str = "10", language: str = "en") -> str:
        """Two of its variables may be left out."""
        return f"{topic} {limit} {language}"

    @server.resource("notes://{day}", name="count", mime_type="text/plain")
    def count_of(day: str) -> str:
        """A template with the name of a tool."""
        return f"notes of {day}"

    @server.resource("up://../../../../escaped.txt", mime_type="text/plain")
    def up() -> str:
        """A resource whose URI leads out of every folder."""
        return "escaped?"

    @server.prompt(name="echo")
    def echo_prompt(text: str) -> str:
        """A prompt with the name of a tool."""
        return f"Please say {text}"

    @server.prompt()
    def picture_prompt() -> list[UserMessage]:
        """A prompt of two messages, one a picture."""
        picture = ImageContent(type="image", data=PNG, mime_type="image/png")
        return [UserMessage("Look at this:"), UserMessage(picture)]
