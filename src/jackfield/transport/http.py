"""Streamable HTTP and SSE: the SDK's transports over an HTTP client that tells what went wrong.

The SDK turns any HTTP failure into one and the same message, and a refused connection into the end of
the whole transport. The client here notes what happened, and to which call: see `http_requests.py`. Streams of events
outlive their connections: see `http_streams.py`.

Source: MCP 2025-11-25, basic/transports "Streamable HTTP"; 2026-07-28, the same; 2024-11-05 "HTTP with SSE".
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from ..config.oauth import OAuthConfig
from ..config.servers import HttpConfig, SseConfig
from ..http_content import ACCEPTED_ENCODINGS
from ..logs import SessionLog
from .http_client import SessionClient
from .http_failures import SESSION_HEADER
from .http_messages import RecordingWriter, WatchedReader
from .http_requests import ReportingTransport
from .report import ConnectionReport
from .sdk import quiet_after_close

EndOutcome = Literal["ended", "refused", "failed"]
"""Of ending a session at its server: it is over there, clients may not end sessions, or it was not reached."""


@asynccontextmanager
async def http_transport(config: HttpConfig, report: ConnectionReport) -> AsyncGenerator[tuple[WatchedReader, Any]]:
    """Connect over Streamable HTTP; on exit, send DELETE to the server."""
    quiet_after_close()
    async with anyio.create_task_group() as tasks:
        transport = ReportingTransport(config, report, tasks)
        async with (
            _http_client(config, transport) as client,
            streamable_http_client(
                config.url,
                http_client=client,
                terminate_on_close=config.terminate_on_close,
                # Bounded here instead, where a call can be told why it failed.
                max_sse_event_size=None,
            ) as (reader, writer),
        ):
            yield WatchedReader(reader, report, tasks), RecordingWriter(writer, report, tasks, transport.give_up)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def sse_transport(config: SseConfig, report: ConnectionReport) -> AsyncGenerator[tuple[WatchedReader, Any]]:
    """Connect over SSE."""
    async with anyio.create_task_group() as tasks:
        transport = ReportingTransport(config, report, tasks)

        def client_factory(
            headers: dict[str, str] | None = None,
            timeout: httpx2.Timeout | None = None,
            auth: httpx2.Auth | None = None,
        ) -> httpx2.AsyncClient:
            return _http_client(config, transport)

        def session_created(session_id: str) -> None:
            report.http_session_id = session_id

        async with sse_client(
            config.url,
            timeout=config.timeout,
            sse_read_timeout=config.sse_read_timeout,
            httpx_client_factory=client_factory,
            on_session_created=session_created,
        ) as (reader, writer):
            yield WatchedReader(reader, report, tasks), RecordingWriter(writer, report, tasks, transport.give_up)
        tasks.cancel_scope.cancel()


async def end_session(config: HttpConfig, log: SessionLog, session_id: str, version: str) -> EndOutcome:
    """Tell the server by DELETE that a session is over whose connection is closed.

    Args:
        config: The server.
        log: Of the session on whose behalf.
        session_id: As the server gave it.
        version: The protocol's.

    Source: MCP 2025-11-25, basic/transports "Session Management".
    """
    report = ConnectionReport(config, log)
    headers = {SESSION_HEADER: session_id, "mcp-protocol-version": version}
    with anyio.move_on_after(config.session.close_timeout):
        async with anyio.create_task_group() as tasks:
            async with _http_client(config, ReportingTransport(config, report, tasks)) as client:
                await client.request("DELETE", config.url, headers=headers)
            tasks.cancel_scope.cancel()
    return "ended" if report.is_ended_at_server else "refused" if report.refuses_ending else "failed"


def _http_client(config: HttpConfig | SseConfig, transport: ReportingTransport) -> httpx2.AsyncClient:
    headers = httpx2.Headers({"Accept-Encoding": ACCEPTED_ENCODINGS})
    headers.update(config.header_values())
    transport.client = client = SessionClient(
        headers=headers,
        auth=None if isinstance(config.auth, str | OAuthConfig) else config.auth,
        timeout=httpx2.Timeout(config.timeout, read=config.sse_read_timeout),
        transport=transport,
    )
    return client
