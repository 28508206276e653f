"""Passes progress on in its order, and all of it before the result.

The SDK calls back for each report in a task of its own; one that has to wait would be overtaken by the result,
after which nothing may be reported any more.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from mcp.server import ServerRequestContext
    from mcp.shared.dispatcher import ProgressFnT


@asynccontextmanager
async def relayed(ctx: ServerRequestContext[Any, Any]) -> AsyncGenerator[ProgressFnT | None]:
    """A progress callback for the call behind, or `None` where the client asked for no progress.

    An error of the block would come out of it in an exception group: return it instead.
    """
    if not ctx.meta or ctx.meta.get("progress_token") is None:
        yield None
        return
    send, receive = anyio.create_memory_object_stream[tuple[float, float | None, str | None]](math.inf)

    async def note(progress: float, total: float | None, message: str | None) -> None:
        # A server that reports after its result tells nobody any more.
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            send.send_nowait((progress, total, message))

    async def relay() -> None:
        with receive:
            async for progress, total, message in receive:
                await ctx.session.report_progress(progress, total, message)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relay)
        with send:
            yield note
