"""The redirect target after a sign-in: one page on this machine's loopback address.

Source: RFC 8252, section 7.3.
"""

from __future__ import annotations

import html
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import anyio
from anyio.abc import SocketAttribute, SocketStream

_MAX_HEAD_BYTES = 16 * 1024
_HEAD_SECONDS = 10.0


@dataclass(frozen=True)
class Page:
    """What the browser is shown."""

    status: HTTPStatus
    title: str
    text: str
    then: Callable[[], None] = lambda: None
    """Called when it has been sent."""

    def encoded(self) -> bytes:
        """As an HTTP answer."""
        title, text = html.escape(self.title), html.escape(self.text)
        body = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
            '<body style="font: 16px system-ui, sans-serif; max-width: 36em; margin: 4em auto; padding: 0 1em">'
            f"<h1>{title}</h1><p>{text}</p></body></html>\n"
        ).encode()
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\nContent-Type: text/html; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
            "Connection: close\r\n\r\n"
        ).encode()
        return head + body


Judge = Callable[[Mapping[str, str]], Page]
"""Takes the parameters of a redirect and says what to show."""


@asynccontextmanager
async def redirect_listener(redirect_uri: str, judge: Judge) -> AsyncGenerator[str]:
    """Listen for redirects; yields the redirect URI with the actual port.

    Args:
        redirect_uri: An http URL on loopback; without a port, any free one is used.
        judge: Called for each redirect to its path.

    Raises:
        OSError: The port is taken.
    """
    parts = urlsplit(redirect_uri)
    host = parts.hostname or "127.0.0.1"
    # A free port is free for one address; browsers that look for localhost elsewhere first come back to this one.
    bind = "127.0.0.1" if host == "localhost" and parts.port is None else host
    listener = await anyio.create_tcp_listener(local_host=bind, local_port=parts.port or 0)
    port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no Django here
    shown = f"[{host}]" if ":" in host else host

    async def handle(stream: SocketStream) -> None:
        async with stream:
            with anyio.move_on_after(_HEAD_SECONDS):
                await _answer(stream, parts.path or "/", judge)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield urlunsplit((parts.scheme, f"{shown}:{port}", parts.path, "", ""))
        tasks.cancel_scope.cancel()


async def _answer(stream: SocketStream, path: str, judge: Judge) -> None:
    page = None
    try:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive()
            if len(head) > _MAX_HEAD_BYTES:
                return
        page = _page(head.partition(b"\r\n")[0].decode("latin-1"), path, judge)
        await stream.send(page.encoded())
        await stream.send_eof()
    except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
        pass  # A browser that went away has told what it had to tell.
    finally:
        if page is not None:
            page.then()


def _page(request_line: str, path: str, judge: Judge) -> Page:
    method, _, rest = request_line.partition(" ")
    target = urlsplit(rest.rpartition(" ")[0])
    if method != "GET" or (target.path or "/") != path:
        return Page(HTTPStatus.NOT_FOUND, "Not found", "This address only completes a sign-in.")
    return judge(dict(parse_qsl(target.query)))
