"""A host on fastmcp's client, run where fastmcp is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
from fastmcp import Client  # pyright: ignore[reportMissingImports]
from fastmcp.client.transports import StdioTransport  # pyright: ignore[reportMissingImports]
from mcp.types import PromptReference, ResourceUpdatedNotification
from python_host import ORDER, SECONDS, all_dumped, dumped, taken, until

IS_MODERN = ORDER["era"] == "modern"
logged: list[Any] = []
updated: list[str] = []


async def elicit(message: str, response_type: Any, params: Any, context: object) -> Any:
    return {"name": "Ada"}


async def sample(messages: object, params: object, context: object) -> str:
    return "Because."


async def log(message: Any) -> None:
    logged.append(message.data)


async def message(message: Any) -> None:
    if isinstance(message, ResourceUpdatedNotification):
        updated.append(str(message.params.uri))


async def cancellation(client: Any) -> str:
    began = anyio.Event()

    async def note(*_: object) -> None:
        began.set()

    async def call() -> None:
        await client.call_tool("slow", {"log": ORDER["log"]}, progress_handler=note)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        with anyio.fail_after(SECONDS):
            await began.wait()
        tasks.cancel_scope.cancel()
    await until(lambda: Path(ORDER["log"]).exists() and Path(ORDER["log"]).read_text())
    return Path(ORDER["log"]).read_text()


async def main() -> None:
    """Connect, and take each step."""
    target: Any = ORDER.get("url")
    if target is None:
        command, *arguments = ORDER["command"]
        target = StdioTransport(command, arguments, env=dict(os.environ), keep_alive=False)
    async with Client(
        target,
        mode="auto" if IS_MODERN else "legacy",
        elicitation_handler=elicit,
        sampling_handler=sample,
        roots=["file:///here"],
        log_handler=log,
        message_handler=message,
    ) as client:

        async def call(tool: str, **arguments: Any) -> Any:
            return dumped(await client.call_tool_mcp(tool, arguments))

        async def structured() -> Any:
            result = await client.call_tool("receipt", {"customer": "Ada"})
            return [result.structured_content, repr(result.data)]

        async def progress() -> list[Any]:
            reported: list[Any] = []

            async def note(*report: Any) -> None:
                reported.append(list(report))

            await client.call_tool("steps", {"count": 3}, progress_handler=note)
            return reported

        async def log_message() -> list[Any]:
            if not IS_MODERN:
                await client.set_logging_level("warning")
            meta = {"io.modelcontextprotocol/logLevel": "warning"} if IS_MODERN else None
            await client.call_tool("say", {"text": "a word"}, meta=meta)
            await until(lambda: logged)
            return logged

        async def subscription() -> list[str]:
            await client.session.subscribe_resource("notes://today")
            await call("touch", uri="notes://today")
            await until(lambda: updated)
            await client.session.unsubscribe_resource("notes://today")
            await call("touch", uri="notes://today")
            return updated

        async def listed(kind: str) -> Any:
            return all_dumped(await getattr(client, f"list_{kind}")())

        async def read(uri: str) -> Any:
            return all_dumped(await client.read_resource(uri))

        async def prompt() -> Any:
            return dumped(await client.get_prompt("summarize", {"topic": "tea"}))

        async def completion() -> Any:
            reference = PromptReference(type="ref/prompt", name="summarize")
            return dumped(await client.complete(reference, {"name": "style", "value": "sh"}))

        await taken(
            client.protocol_version,
            {
                "tools": lambda: listed("tools"),
                "call": lambda: call("echo", text="hé"),
                "image": lambda: call("picture"),
                "structured content": structured,
                "wrong arguments": lambda: call("receipt"),
                "progress": progress,
                "cancellation": lambda: cancellation(client),
                "elicitation": lambda: call("ask") if not IS_MODERN else result_of(client, "ask"),
                "sampling": lambda: call("think") if not IS_MODERN else result_of(client, "think"),
                "roots": lambda: call("where") if not IS_MODERN else result_of(client, "where"),
                "log message": log_message,
                "resources": lambda: listed("resources"),
                "templates": lambda: listed("resource_templates"),
                "resource": lambda: read("notes://today"),
                "resource of a template": lambda: read("notes://monday/2"),
                "unknown resource": lambda: read("notes://none/at/all"),
                **({} if IS_MODERN else {"subscription": subscription}),
                "prompts": lambda: listed("prompts"),
                "prompt": prompt,
                "completion": completion,
            },
        )


async def result_of(client: Any, tool: str) -> Any:
    return all_dumped((await client.call_tool(tool, {})).content)


anyio.run(main)
