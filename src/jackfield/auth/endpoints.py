"""Requests to an authorization server: limited in time and size, with errors that quote it without secrets."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

import anyio
import httpx2

from ..config.http_connections import http_connections
from ..config.outline import redact_url
from ..config.proxies import proxy_for
from ..config.servers import RemoteConfig
from ..errors import AuthenticationError, JackfieldError, ServerUnavailableError, one_line
from ..http_content import ACCEPTED_ENCODINGS, content_headers, decoded
from ..logs import mask_logs
from ..masking import NamedValue, keep_secret, mask
from ..plain import as_table, parsed_json

REQUEST_SECONDS = 20.0
_MAX_BODY_BYTES = 1024 * 1024
_SECRET_FIELDS = frozenset(
    {
        *("access_token", "assertion", "client_assertion", "client_secret", "code", "code_verifier", "id_token"),
        *("refresh_token", "registration_access_token", "subject_token", "token"),
    }
)


class AuthorizationClient:
    """An HTTP client for metadata, registration, tokens and revocation. Enter it to use it.

    Args:
        config: The server whose sign-in this is, for its TLS settings and its name in errors.
        purpose: What fails if there is no answer, as the beginning of a sentence.
    """

    def __init__(self, config: RemoteConfig, purpose: str) -> None:
        mask_logs()
        self.config = config
        self._purpose = purpose
        self._client = httpx2.AsyncClient(
            transport=http_connections(config, httpx2.Limits(max_connections=10)),
            timeout=REQUEST_SECONDS,
            headers={"User-Agent": "jackfield", "Accept-Encoding": ACCEPTED_ENCODINGS},
        )
        self._server = httpx2.URL(config.url)

    async def __aenter__(self) -> AuthorizationClient:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.__aexit__(exc_type, exc, traceback)

    async def send(self, request: httpx2.Request, *, head_only: bool = False) -> httpx2.Response:
        """Send a request and read its answer.

        Args:
            request: A request of an SDK flow.
            head_only: Do not read the body, which may be an endless stream.

        Raises:
            ServerUnavailableError: No answer.
            AuthenticationError: The request would be unencrypted although the server's own URL is not, or the
                answer is too long.
        """
        at = redact_url(str(request.url)).partition("?")[0]
        name = self.config.server_name
        if self._server.scheme == "https" and request.url.scheme != "https":
            raise AuthenticationError(
                f"{self._purpose} server {name!r} failed: it would use plain http to {at}.",
                server_name=name,
                sent=False,
                hint="Tell the server's operator; its authorization server must be at an https:// address.",
            )
        if same_origin(request.url, self._server):
            # What opens a gateway in front of the server opens it for its metadata, too.
            for header, value in self.config.header_values().items():
                request.headers.setdefault(header, value)
        keep_secret(self, _secrets_in(request))
        try:
            with anyio.fail_after(REQUEST_SECONDS):
                response = await self._client.send(request, stream=True)
                try:
                    body = b"" if head_only else await self._body(response, at)
                finally:
                    await response.aclose()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TimeoutError) as error:
            reason = str(error) or f"no answer within {REQUEST_SECONDS:g} s"
            if proxy_for(str(request.url)) is not None:
                reason += ", through the proxy that the environment names"
            raise ServerUnavailableError(
                f"{self._purpose} server {name!r} failed: {at} cannot be reached ({reason}).",
                server_name=name,
                sent=False,
                retryable=True,
                hint="Check that address, or try again later.",
            ) from None
        answer = httpx2.Response(response.status_code, headers=content_headers(response), content=body, request=request)
        answer.next_request = response.next_request
        # What it gives is refused at times, and then quoted.
        keep_secret(self, _secret_fields(as_table(parsed_json(body)).items()))
        return answer

    async def _body(self, response: httpx2.Response, at: str) -> bytes:
        body = bytearray()
        async with aclosing(decoded(response)) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > _MAX_BODY_BYTES:
                    raise AuthenticationError(
                        f"{self._purpose} server {self.config.server_name!r} failed: {at} answered with more than "
                        f"{_MAX_BODY_BYTES:,} bytes.",
                        server_name=self.config.server_name,
                        sent=False,
                    )
        return bytes(body)


def same_origin(one: httpx2.URL, other: httpx2.URL) -> bool:
    """Whether two addresses are of the same server."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def refusal(response: httpx2.Response) -> tuple[str, str]:
    """What an error answer says: the OAuth error code (or the status), and a text for people without secrets.

    Source: RFC 6749, section 5.2; RFC 7591, section 3.2.2.
    """
    said = as_table(parsed_json(response.content))
    code, about = said.get("error"), said.get("error_description")
    if not isinstance(code, str):
        return f"HTTP {response.status_code}", f"HTTP {response.status_code}"
    text = f"{code}: {about}" if isinstance(about, str) and about else code
    return one_line(mask(code), 60), one_line(mask(text))


def _secrets_in(request: httpx2.Request) -> list[NamedValue]:
    is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    form = parse_qsl(request.content.decode("utf-8", "replace")) if is_form else []
    return [("Authorization", request.headers.get("Authorization", "")), *_secret_fields(form)]


def _secret_fields(fields: Iterable[tuple[str, Any]]) -> list[NamedValue]:
    return [("token", value) for name, value in fields if name in _SECRET_FIELDS and isinstance(value, str)]


def is_token_answer(response: httpx2.Response) -> bool:
    """Whether an answer has tokens the SDK understands; its own error would quote them."""
    from mcp.shared.auth import OAuthToken
    from pydantic import ValidationError

    try:
        OAuthToken.model_validate_json(response.content)
    except ValidationError:
        return False
    return True


def as_failure(config: RemoteConfig, what: str, error: Exception) -> JackfieldError:
    """A problem that the SDK found, in the terms of this library."""
    name = config.server_name
    return AuthenticationError(
        f"{what} server {name!r} failed: {one_line(str(error), 300)}.".replace("..", "."),
        server_name=name,
        sent=False,
        hint="Tell the server's operator; the fault is in its metadata or its authorization server.",
    )


_is_quiet: ContextVar[bool] = ContextVar("jackfield_sdk_is_quiet", default=False)


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _is_quiet.get()


_quiet = _Quiet()


@contextmanager
def quiet_sdk() -> Generator[None]:
    """Keep the SDK's log of a flow from stderr: what goes wrong is raised, and its tracebacks quote answers."""
    from mcp.client.auth import OAuthClientProvider

    logging.getLogger(OAuthClientProvider.__module__).addFilter(_quiet)  # the same filter is added once only
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


AuthFlow = AsyncGenerator[httpx2.Request, httpx2.Response]


@asynccontextmanager
async def driven(flow: AuthFlow) -> AsyncGenerator[AuthFlow]:
    """Step through an auth flow of the SDK by hand, and close it in the end."""
    with quiet_sdk():
        try:
            yield flow
        finally:
            await flow.aclose()
