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
    """A server that has tools, and no resources, can be used as the documentation begins."""
    async with way([trial.unruly()]) as subject:
        answer = await subject.call("echo", {"text": "on"})
    return Seen(is_on(answer), words_of(answer))


async def streamable_http(trial: Trial, way: Way) -> Seen:
    """Servers over Streamable HTTP can be used."""
    async with trial.remote("http") as server, way([server]) as subject:
        answer = await subject.call("work", WORK)
    ok = "work 1" in answer.text
    return Seen(ok, "answered" if ok else words_of(answer))


async def both_protocols(trial: Trial, way: Way) -> Seen:
    """Speaks the protocol of 2026-07-28 with servers that speak no other."""
    sdk = importlib.metadata.version("mcp")

    async def use() -> Any:
        async with way([trial.rig("--era", "modern")]) as subject:
            return await subject.call("work", WORK)

    answer = await outcome(use(), 30)
    ok = "work 1" in getattr(answer, "text", "")
    return Seen(ok, f"{'answered' if ok else words_of(answer)} (with the SDK {sdk})")


async def secrets_are_not_printed(trial: Trial, printed: Any) -> Seen:
    """A token in a server's environment is shown by no `repr` and no dump."""
    shown = printed(trial.everything(LIBRARY_TOKEN=SECRET))
    showing = [name for name, text in shown.items() if SECRET in text]
    return Seen(not showing, f"shown by {', '.join(showing)}" if showing else "not shown")


async def tells_nobody(trial: Trial, way: Way) -> Seen:
    """Using a server over stdio contacts nobody else."""
    hosts: set[str] = set()

    def refuse(host: Any, *more: Any, **options: Any) -> Any:
        hosts.add(str(host))
        raise socket.gaierror("not from here")

    socket.getaddrinfo = refuse  # type: ignore[assignment]
    async with way([trial.everything()]) as subject:
        await subject.call("echo", {"text": "x"})
        await asyncio.sleep(3)
    return Seen(not hosts, f"looked up {', '.join(sorted(hosts))}" if hosts else "nobody")
