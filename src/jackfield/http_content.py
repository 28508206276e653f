"""Bodies of HTTP responses: decompressed in small steps and read no further than needed.

A few hundred bytes that are compressed twice can expand to gigabytes. Therefore each step decompresses a limited
amount, and other tasks run between two steps.

Source: RFC 9110, section 8.4 "Content-Encoding".
"""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing

import anyio
import httpx2
from anyio.lowlevel import checkpoint

ACCEPTED_ENCODINGS = "gzip, deflate"
"""What to ask servers for: what is decompressed here."""

_STEP_BYTES = 64 * 1024
_MAX_LAYERS = 2
_ZLIB_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
# Of visible ASCII, and blanks.
_SENDABLE = re.compile(rb"[ -~]*")
_OF_THE_WIRE = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


async def decoded(response: httpx2.Response) -> AsyncGenerator[bytes]:
    """The body in pieces of bounded size, decompressed. Close it (`aclosing`) to read no further.

    Raises:
        httpx2.DecodingError: It is not compressed as its headers say, or too many times.
        httpx2.TransportError: The connection broke, or the server broke the protocol.
    """
    codings = _codings(response)
    if not set(codings) <= _ZLIB_CODINGS:
        # Not asked for. The HTTP client knows more of them where they are installed, and lets unknown ones pass.
        if len(codings) > 1:
            raise httpx2.DecodingError(f"the body is encoded as {', '.join(codings)[:80]}")
        async with aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                yield chunk
                await checkpoint()
        return
    if len(codings) > _MAX_LAYERS:
        raise httpx2.DecodingError(f"the body is compressed {len(codings)} times")
    if not codings:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        stream = aiter(response.stream)
        try:
            async for chunk in stream:
                yield chunk
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
            await response.aclose()
        return
    layers = [_Inflater(coding) for coding in reversed(codings)]
    async with aclosing(response.aiter_raw()) as chunks:
        async for chunk in chunks:
            for piece in _inflated(chunk, layers):
                if piece:
                    yield piece
                await checkpoint()


async def beginning(response: httpx2.Response, limit_bytes: int, seconds: float) -> bytes:
    """The beginning of a body, as far as it can be read in time; closes the response. Nothing is raised.

    Args:
        response: Whose body it is.
        limit_bytes: Read no more than that, decompressed.
        seconds: Wait no longer for it.
    """
    body = bytearray()
    # What cannot be read is not a reason to lose what its status says.
    with contextlib.suppress(Exception), anyio.move_on_after(seconds):
        async with aclosing(decoded(response)) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) >= limit_bytes:
                    break
    with contextlib.suppress(Exception):
        await response.aclose()
    return bytes(body[:limit_bytes])


def content_headers(response: httpx2.Response) -> list[tuple[bytes, bytes]]:
    """The headers of an answer whose body is decompressed already, as the server wrote them byte by byte. Cookies that
    cannot be sent back are left out."""
    return [
        (name, value)
        for name, value in response.headers.raw
        if name.lower() not in _OF_THE_WIRE and (name.lower() != b"set-cookie" or _SENDABLE.fullmatch(value))
    ]


def _codings(response: httpx2.Response) -> list[str]:
    named = response.headers.get_list("content-encoding", split_commas=True)
    return [coding for name in named if (coding := name.strip().lower()) not in ("", "identity")]


class _Inflater:
    """One layer of compression."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS if coding == "deflate" else zlib.MAX_WBITS | 16)
        self._is_first = True

    def steps(self, data: bytes) -> Generator[bytes]:
        """Take what arrived; gives what it stands for in pieces of at most `_STEP_BYTES`."""
        while not self._inflate.eof:
            try:
                piece = self._inflate.decompress(data, _STEP_BYTES)
            except zlib.error as error:
                if self._coding != "deflate" or not self._is_first:
                    raise httpx2.DecodingError(f"the body is not compressed with {self._coding}: {error}") from None
                # Some servers leave out the zlib format around it.
                self._inflate, self._is_first = zlib.decompressobj(-zlib.MAX_WBITS), False
                continue
            self._is_first = False
            yield piece
            data = self._inflate.unconsumed_tail
            if not data and len(piece) < _STEP_BYTES:
                break


def _inflated(data: bytes, layers: Sequence[_Inflater]) -> Generator[bytes]:
    for piece in layers[0].steps(data):
        if len(layers) == 1:
            yield piece
        else:
            yield from _inflated(piece, layers[1:])
