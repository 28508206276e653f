"""`SessionClient`: the HTTP client of one session, which does once what httpx2 does for each request.

The calls of a session are posted to one URL with the same headers, but for their length. httpx2 parses the URL and
merges, normalizes and decodes the headers again for each of them, which is a tenth of what a small call costs.
"""

from __future__ import annotations

import json as json_module
import logging
from collections.abc import Mapping
from typing import Any, cast

import httpx2

from ..config.http_connections import http_connections
from ..config.servers import HttpConfig, SseConfig

_MAX_PATTERNS = 64
# As httpx2 writes the body of a request.
_encode = json_module.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


_ANSWER = "jackfield_answer"
_log = logging.getLogger("httpx2")


class SessionClient(httpx2.AsyncClient):
    """An HTTP client for many requests that differ in their bodies only.

    Args:
        transport: Sends the requests. Its responses name their request.
        options: As of `httpx2.AsyncClient`.
    """

    def __init__(self, *, transport: httpx2.AsyncBaseTransport, **options: Any) -> None:
        super().__init__(transport=_AnsweredTransport(transport), **options)
        self._sender = transport
        self._patterns: dict[tuple[object, ...], httpx2.Request] = {}
        """Requests as httpx2 builds them, by their URL and headers."""

    def build_request(
        self,
        method: str,
        url: httpx2.URL | str,
        *,
        json: Any | None = None,
        headers: Any | None = None,
        **options: Any,
    ) -> httpx2.Request:
        """Build a request; see `httpx2.AsyncClient.build_request`."""
        if method != "POST" or json is None or type(headers) is not dict or options or self.cookies:
            return super().build_request(method, url, json=json, headers=cast("Any", headers), **options)
        pattern = self._pattern(url, cast("Mapping[str, str]", headers))
        body = _encode(json).encode()
        request = httpx2.Request(
            "POST",
            pattern.url,
            headers=pattern.headers,
            stream=httpx2.ByteStream(body),
            extensions=pattern.extensions,
        )
        request.headers["Content-Length"] = str(len(body))
        request.read()
        return request

    async def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = False,
        auth: Any = httpx2.USE_CLIENT_DEFAULT,
        follow_redirects: Any = httpx2.USE_CLIENT_DEFAULT,
    ) -> httpx2.Response:
        """Send a request; see `httpx2.AsyncClient.send`. What httpx2 would only look through is left out."""
        is_plain = stream and follow_redirects is False and auth is httpx2.USE_CLIENT_DEFAULT and self.auth is None
        if is_plain and not (self.is_closed or _log.isEnabledFor(logging.INFO) or request.url.userinfo):
            response = await self._sender.handle_async_request(request)
            if not response.has_redirect_location and "set-cookie" not in response.headers:
                return response
            request.extensions[_ANSWER] = response
        return await super().send(request, stream=stream, auth=auth, follow_redirects=follow_redirects)

    def _pattern(self, url: httpx2.URL | str, headers: Mapping[str, str]) -> httpx2.Request:
        key = (url, *headers.items())
        if (pattern := self._patterns.get(key)) is not None:
            return pattern
        if len(self._patterns) >= _MAX_PATTERNS:
            self._patterns.clear()
        pattern = self._patterns[key] = super().build_request("POST", url, json={}, headers=headers)
        return pattern


class _AnsweredTransport(httpx2.AsyncBaseTransport):
    """Returns the response that a request has already."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer: httpx2.Response | None = request.extensions.pop(_ANSWER, None)
        return await self._inner.handle_async_request(request) if answer is None else answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class WholeResponse(httpx2.Response):
    """A response whose body has been read."""

    def __init__(self, status_code: int, *, body: bytes, **options: Any) -> None:
        super().__init__(status_code, stream=httpx2.ByteStream(body), **options)
        self._body = body

    @property
    def content(self) -> bytes:
        """The body."""
        return self._body

    async def aread(self) -> bytes:
        """The body."""
        return self._body


def connections(config: HttpConfig | SseConfig) -> httpx2.AsyncBaseTransport:
    """The connections to a server, with its tokens."""
    # A session's calls are bounded by `max_concurrency`, not by how many connections happen to be pooled.
    pool = http_connections(config, httpx2.Limits(max_connections=None, max_keepalive_connections=20))
    if (authorized := config.authorize(pool)) is not None:
        return authorized
    if config.oauth is None:
        return pool
    # Sessions over stdio need none of it.
    from ..auth.bearer import BearerTransport

    return BearerTransport(config, pool)


def no_answer(request: httpx2.Request) -> httpx2.Response:
    """The SDK's substitute if there was no answer; the client's log names it."""
    words = {"http_version": b"no answer, taken as", "reason_phrase": b"(not from the server)"}
    return httpx2.Response(503, request=request, extensions=words)


def sent_again(request: httpx2.Request) -> httpx2.Request:
    """The same request, to be sent once more."""
    timeout = {"timeout": request.extensions["timeout"]} if "timeout" in request.extensions else {}
    return httpx2.Request(
        request.method, request.url, headers=request.headers.raw, content=request.content, extensions=timeout
    )
