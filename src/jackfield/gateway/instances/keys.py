"""`InstanceKeys`: the secret that the instances of a gateway share.

With it they sign what they send each other, and encrypt what they keep in the store. The first key signs and encrypts,
all are accepted, so that they can be rotated.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import os
import stat
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigError
from ...files import is_open_to_others

if TYPE_CHECKING:
    from mcp.server.request_state import AESGCMRequestStateCodec

logger: logging.Logger = logging.getLogger("jackfield")

SIGNED_SECONDS = 30.0
"""What was signed longer ago, or is dated so far ahead, is refused: clocks may differ by so much."""

_SHORTEST_BYTES = 32
_TIME, _ONCE, _DIGEST = "x-jackfield-time", "x-jackfield-once", "x-jackfield-digest"
_SIGNATURE = "x-jackfield-signature"


def read_keys(file: Path) -> list[bytes]:
    """The keys in a file, one a line; empty lines and those that begin with `#` are skipped.

    Raises:
        ConfigError: It cannot be read, or is readable by others; it has no key, or one that is too short.
    """
    try:
        status = file.stat()
        lines = [line.strip() for line in file.read_bytes().splitlines()]
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from None
    keys = [line for line in lines if line and not line.startswith(b"#")]
    if is_open_to_others(status):
        raise ConfigError(
            f"{file}: it can be read or written by others (its mode is {stat.S_IMODE(status.st_mode):o}).",
            hint=f"Run `chmod 600 {file}`; if others may have read it, replace its keys.",
        )
    hint = "Put one there, the same file for every instance: `openssl rand -hex 32 > FILE`."
    if not keys:
        raise ConfigError(f"{file}: it contains no key.", hint=hint)
    if any(len(key) < _SHORTEST_BYTES for key in keys):
        raise ConfigError(f"{file}: a key is shorter than {_SHORTEST_BYTES} characters.", hint=hint)
    return keys


class InstanceKeys:
    """Signs and encrypts.

    Args:
        keys: Each of at least 32 bytes, the same on every instance.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = list(keys)
        self._signing = [hmac.digest(key, b"jackfield instances", hashlib.sha256) for key in keys]
        self.marks: list[str] = [f"{hmac.digest(key, b'jackfield mark', hashlib.sha256).hex()[:12]}." for key in keys]
        """By each key, what instances with the same key know each other's names by."""
        self._used: set[str] = set()
        self._used_until: deque[tuple[float, str]] = deque()

    @cached_property
    def codec(self) -> AESGCMRequestStateCodec:
        """Encrypts what is kept in the store."""
        from mcp.server.request_state import AESGCMRequestStateCodec

        return AESGCMRequestStateCodec([hmac.digest(key, b"jackfield store", hashlib.sha256) for key in self._keys])

    def signed(self, path: str, body: bytes) -> dict[str, str]:
        """The headers that show that a POST comes from an instance.

        Args:
            path: Where it goes.
            body: What is sent.
        """
        at, once, digest = str(time.time()), os.urandom(16).hex(), _digest(body)
        signature = _signature(self._signing[0], path, digest, at, once)
        return {_TIME: at, _ONCE: once, _DIGEST: digest, _SIGNATURE: signature}

    def is_signed(self, path: str, headers: Mapping[str, str]) -> bool:
        """Whether a POST comes from an instance, lately, and for the first time; its body is to be `is_body`.

        This is known before the body is there, so that none is read of anybody else.
        """
        at, once, digest, given = (headers.get(name, "") for name in (_TIME, _ONCE, _DIGEST, _SIGNATURE))
        try:
            age = time.time() - float(at)
        except ValueError:
            return False
        if not math.isfinite(age) or not given.isascii():
            return False
        if not any(hmac.compare_digest(given, _signature(key, path, digest, at, once)) for key in self._signing):
            return False
        if abs(age) > SIGNED_SECONDS:
            # Only an instance has signed it: it is sent again, or not both clocks are right.
            text = "[MCP][gateway] A message of an instance is dated %.0f s from now; the instances' clocks must agree"
            logger.warning(text, -age)
            return False
        return self._is_first(once)

    @staticmethod
    def is_body(body: bytes, headers: Mapping[str, str]) -> bool:
        """Whether a body is the one that was signed."""
        return hmac.compare_digest(_digest(body).encode(), headers.get(_DIGEST, "").encode())

    def _is_first(self, once: str) -> bool:
        now = time.monotonic()
        while self._used_until and self._used_until[0][0] < now:
            self._used.discard(self._used_until.popleft()[1])
        if once in self._used:
            return False
        self._used.add(once)
        self._used_until.append((now + 2 * SIGNED_SECONDS, once))
        return True


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _signature(key: bytes, path: str, digest: str, at: str, once: str) -> str:
    signed = "\n".join(("POST", path, at, once, digest))
    return hmac.digest(key, signed.encode(), "sha256").hex()
