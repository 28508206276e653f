"""A host on the Python SDK."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.subscriptions import ResourceUpdated
from mcp.types import (
    CreateMessageResult,
    ElicitResult,
    ListRootsResult,
    PromptReference,
    ResourceUpdatedNotification,
    Root,
    TextContent,
)
from python_host import ORDER, SECONDS, all_dumped, dumped, taken, until

IS_MODERN = ORDER["era"] == "modern"
logged: list[Any] = []
updated: list[str] = []


async def elicit(context: object, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "Ada"})


async def sample(context: object, params: Any) -> CreateMessageResult:
    return CreateMessageResult(role="assistant", content=TextContent(text="Because."), model="m")


async def roots(context: object) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///here")])  # type: ignore[arg-type]


async def log(params: Any) -> None:
    logged.append(params.data)


async def message(message: Any) -> None:
    if isinstance(message, ResourceUpdatedNotification):
        updated.append(str(message.params.uri))


class Steps:
    """What is done with the client."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> Any:
        return dumped(await self.client.call_tool(tool, arguments))

    async def progress(self) -> list[Any]:
        reported: list[Any] = []

        async def note(*report: Any) -> None:
            reported.append(list(report))

        await self.client.call_tool("steps", {"count": 3}, progress_callback=note)
        return reported

    async def cancellation(self) -> str:
        began = anyio.Event()

        async def note(*_: object) -> None:
            began.set()

        async def call() -> None:
            await self.client.call_tool("slow", {"log": ORDER["log"]}, progress_callback=note)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            with anyio.fail_after(SECONDS):
                await began.wait()
            tasks.cancel_scope.cancel()
        await until(lambda: Path(ORDER["log"]).exists() and Path(ORDER["log"]).read_text())
        return Path(ORDER["log"]).read_text()

    async def log_message(self) -> list[Any]:
        if not IS_MODERN:
            await self.client.set_logging_level("warning")
        await self.client.call_tool("say", {"text": "a word"})
        await until(lambda: logged)
        return logged

    async def subscription(self) -> list[str]:
        if IS_MODERN:
            async with self.client.listen(resource_subscriptions=["notes://today"]) as events:
                await self.call("touch", uri="notes://today")
                with anyio.fail_after(SECONDS):
                    async for event in events:
                        assert isinstance(event, ResourceUpdated)
                        return [str(event.uri)]
        await self.client.subscribe_resource("notes://today")
        await self.call("touch", uri="notes://today")
        await until(lambda: updated)
        await self.client.unsubscribe_resource("notes://today")
        await self.call("touch", uri="notes://today")
        return updated

    async def read(self, uri: str) -> Any:
        return dumped(await self.client.read_resource(uri))

    async def listed(self, kind: str, name: str) -> Any:
        return all_dumped(getattr(await getattr(self.client, f"list_{kind}")(), name))

    async def prompt(self) -> Any:
        return dumped(await self.client.get_prompt("summarize", {"topic": "tea"}))

    async def completion(self) -> Any:
        reference = PromptReference(type="ref/prompt", name="summarize")
        return dumped(await self.client.complete(reference, {"name": "style", "value": "sh"}))


async def main() -> None:
    """Connect, and take each step."""
    target = ORDER.get("url")
    if target is None:
        command, *arguments = ORDER["command"]
        target = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    async with Client(
        target,
        mode="auto" if IS_MODERN else "legacy",
        elicitation_callback=elicit,
        sampling_callback=sample,
        list_roots_callback=roots,
        logging_callback=log,
        log_level="warning" if IS_MODERN else None,
        message_handler=message,
    ) as client:
        do = Steps(client)
        await taken(
            client.protocol_version,
            {
                "tools": lambda: do.listed("tools", "tools"),
                "call": lambda: do.call("echo", text="hé"),
                "image": lambda: do.call("picture"),
                "structured content": lambda: do.call("receipt", customer="Ada"),
                "wrong arguments": lambda: do.call("receipt"),
                "progress": do.progress,
                "cancellation": do.cancellation,
                "elicitation": lambda: do.call("ask"),
                "sampling": lambda: do.call("think"),
                "roots": lambda: do.call("where"),
                "log message": do.log_message,
                "resources": lambda: do.listed("resources", "resources"),
                "templates": lambda: do.listed("resource_templates", "resource_templates"),
                "resource": lambda: do.read("notes://today"),
                "resource of a template": lambda: do.read("notes://monday/2"),
                "unknown resource": lambda: do.read("notes://none/at/all"),
                "subscription": do.subscription,
                "prompts": lambda: do.listed("prompts", "prompts"),
                "prompt": do.prompt,
                "completion": do.completion,
            },
        )


anyio.run(main)
