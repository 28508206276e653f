"""A server with one of everything that a host can ask for, in both eras: what its clients see is compared.

Run: hosted.py stdio | streamable-http [--port N]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio

# The examples' servers bind and announce in the same way.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "research_assistant" / "servers"))

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import (
    CallToolResult,
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    UnsubscribeRequestParams,
)
from mcp.types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

from serving import run

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
PAUSE_SECONDS = 0.3
server = MCPServer("hosted", instructions="Try it all.", log_level="ERROR")
subscribers: dict[str, list[Any]] = {}
"""Sessions of the older protocol, by URI."""


class Order(BaseModel):
    """Structured content."""

    customer: str
    items: list[str]


class Name(BaseModel):
    """What the user is asked for."""

    name: str


def is_modern(ctx: Context[Any, Any]) -> bool:
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


@server.tool(structured_output=False)
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool(structured_output=False)
def picture() -> CallToolResult:
    """A picture and a word about it."""
    return CallToolResult(content=[TextContent(text="One pixel:"), ImageContent(data=PNG, mime_type="image/png")])


@server.tool()
def receipt(customer: str) -> Order:
    """An order as structured content."""
    return Order(customer=customer, items=["tea"])


@server.tool(structured_output=False)
async def steps(count: int, ctx: Context[Any, Any]) -> str:
    """Report progress step by step."""
    for step in range(count):
        await ctx.report_progress(step + 1, count, f"step {step + 1}")
        # Some hosts no longer hear what comes together with the result.
        await anyio.sleep(PAUSE_SECONDS)
    return f"{count} steps"


@server.tool(structured_output=False)
async def slow(log: str, ctx: Context[Any, Any]) -> str:
    """Takes its time, and writes to `log` that it was cancelled."""
    await ctx.report_progress(1, 2, "began")
    try:
        await anyio.sleep(60)
    except anyio.get_cancelled_exc_class():
        Path(log).write_text("cancelled")
        raise
    return "done"


@server.tool(structured_output=False)
async def ask(ctx: Context[Any, Any]) -> str | InputRequiredResult:
    """Ask the user's name."""
    if not is_modern(ctx):
        answer = await ctx.elicit("Who are you?", Name)
        return f"{answer.action}: {answer.data.name if answer.action == 'accept' else ''}"
    found = (ctx.input_responses or {}).get("who")
    if isinstance(found, ElicitResult):
        return f"{found.action}: {(found.content or {}).get('name', '')}"
    form = ElicitRequestFormParams(message="Who are you?", requested_schema=Name.model_json_schema())
    return InputRequiredResult(input_requests={"who": ElicitRequest(params=form)}, request_state="asked")


@server.tool(structured_output=False)
async def think(ctx: Context[Any, Any]) -> str | InputRequiredResult:
    """Ask the client's model."""
    message = SamplingMessage(role="user", content=TextContent(text="Why?"))
    if not is_modern(ctx):
        answer = await ctx.session.create_message([message], max_tokens=10, related_request_id=ctx.request_id)
        return f"{answer.model}: {getattr(answer.content, 'text', '')}"
    found = (ctx.input_responses or {}).get("why")
    if isinstance(found, CreateMessageResult):
        return f"{found.model}: {getattr(found.content, 'text', '')}"
    params = CreateMessageRequestParams(messages=[message], max_tokens=10)
    return InputRequiredResult(input_requests={"why": CreateMessageRequest(params=params)}, request_state="asked")


@server.tool(structured_output=False)
async def where(ctx: Context[Any, Any]) -> str | InputRequiredResult:
    """Ask for the client's roots."""
    if not is_modern(ctx):
        found: object = await ctx.session.list_roots()
    else:
        found = (ctx.input_responses or {}).get("roots")
    if isinstance(found, ListRootsResult):
        return " ".join(str(root.uri) for root in found.roots)
    return InputRequiredResult(input_requests={"roots": ListRootsRequest()}, request_state="asked")


@server.tool(structured_output=False)
async def touch(uri: str, ctx: Context[Any, Any]) -> str:
    """Tell who subscribed to a resource that it has changed."""
    await ctx.notify_resource_updated(uri)
    for session in subscribers.get(uri, []):
        await session.send_resource_updated(uri)
    return uri


@server.tool(structured_output=False)
async def say(text: str, ctx: Context[Any, Any]) -> str:
    """Log it."""
    await ctx.session.send_log_message("warning", text, related_request_id=ctx.request_id)
    return "said"


@server.resource("notes://today", mime_type="text/plain")
def today() -> str:
    """Today's note."""
    return "a note"


@server.resource("notes://{day}/{number}", mime_type="text/plain")
def note(day: str, number: str) -> str:
    """One note of a day."""
    return f"note {number} of {day}"


@server.prompt()
def summarize(topic: str, style: str = "short") -> str:
    """Ask for a summary."""
    return f"Summarize {topic} in a {style} way."


@server.completion()
async def complete(ref: object, argument: Any, context: object) -> Completion:
    """Styles."""
    return Completion(values=[style for style in ("short", "shrill", "long") if style.startswith(argument.value)])


async def subscribe(ctx: Any, params: SubscribeRequestParams) -> EmptyResult:
    subscribers.setdefault(str(params.uri), []).append(ctx.session)
    return EmptyResult()


async def unsubscribe(ctx: object, params: UnsubscribeRequestParams) -> EmptyResult:
    subscribers.pop(str(params.uri), None)
    return EmptyResult()


async def set_level(ctx: object, params: SetLevelRequestParams) -> EmptyResult:
    return EmptyResult()


# An `MCPServer` has no public way to these.
server._lowlevel_server.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
server._lowlevel_server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)
server._lowlevel_server.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)


if __name__ == "__main__":
    run(server, "stdio")
