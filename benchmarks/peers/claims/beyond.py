"""What else one meets."""

from __future__ import annotations

import asyncio
import importlib.metadata
import socket
from typing import Any

from subject import Way
from trial import WORK, Seen, Trial, is_on, outcome, words_of

SECRET = "s3cret-" + "value"


async def server_with_tools_only(trial: Trial, way: Way) -> Seen:
    """A server with tools but no resources works with the first example of the documentation."""
    async with way([trial.unruly()]) as subject:
        answer = await subject.call("echo", {"text": "on"})
    return Seen(is_on(answer), words_of(answer))


async def streamable_http(trial: Trial, way: Way) -> Seen:
    """Streamable HTTP is supported."""
    async with trial.remote("http") as server, way([server]) as subject:
        answer = await subject.call("work", WORK)
    ok = "work 1" in answer.text
    return Seen(ok, "answered" if ok else words_of(answer))


async def both_protocols(trial: Trial, way: Way) -> Seen:
    """Servers that speak only protocol 2026-07-28 are supported."""
    sdk = importlib.metadata.version("mcp")

    async def use() -> Any:
        async with way([trial.rig("--era", "modern")]) as subject:
            return await subject.call("work", WORK)

    answer = await outcome(use(), 30)
    ok = "work 1" in getattr(answer, "text", "")
    return Seen(ok, f"{'answered' if ok else words_of(answer)} (with the SDK {sdk})")


async def secrets_are_not_printed(trial: Trial, printed: Any) -> Seen:
    """A token in a server's environment does not appear in any `repr` or dump."""
    shown = printed(trial.everything(LIBRARY_TOKEN=SECRET))
    showing = [name for name, text in shown.items() if SECRET in text]
    return Seen(not showing, f"shown by {', '.join(showing)}" if showing else "not shown")


async def tells_nobody(trial: Trial, way: Way) -> Seen:
    """Using a stdio server contacts no other host."""
    hosts: set[str] = set()

    def refuse(host: Any, *more: Any, **options: Any) -> Any:
        hosts.add(str(host))
        raise socket.gaierror("not from here")

    socket.getaddrinfo = refuse  # type: ignore[assignment]
    async with way([trial.everything()]) as subject:
        await subject.call("echo", {"text": "x"})
        await asyncio.sleep(3)
    return Seen(not hosts, f"looked up {', '.join(sorted(hosts))}" if hosts else "no other host")
