"""What an author gives to `serve_sessions`, checked at once: later it would fail request by request."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from ..errors import listed
from .backends import Backend
from .limits import ServingLimits
from .stopping import READY_PATH
from .stores import SessionStore
from .streams import StreamManager

METRICS_PATH = "/metrics"

MOST_SECONDS = 10 * 365 * 86400.0
"""Of a time: a store cannot add any number to its clock."""

_HOST = re.compile(r"(\*|\[[0-9a-fA-F:.]+\]|[^\s/:@\[\]*]+)(:(\*|[0-9]{1,5}))?")


def check_seconds(name: str, value: float, *, may_be_0: bool = True) -> None:
    """Refuse what is not a time.

    Raises:
        ValueError: It names the setting.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not is_number or not 0 <= value <= MOST_SECONDS or (value == 0 and not may_be_0):
        least = "0" if may_be_0 else "more than 0"
        raise ValueError(f"`{name}` must be a number of seconds, from {least} to ten years, not {value!r}.")


def check_stores(
    backend: Backend | None, sessions: SessionStore | None, streams: StreamManager | None, limits: ServingLimits | None
) -> None:
    """Refuse what stores nothing, and limits that are none.

    Raises:
        TypeError: It names the setting. What was given is not in it: URLs have passwords.
    """
    for name, given, kind, hint in (
        ("backend", backend, Backend, "a RedisBackend, a PostgresBackend or another Backend"),
        ("limits", limits, ServingLimits, "ServingLimits"),
    ):
        if given is not None and not isinstance(given, kind):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"`{name}` must be {hint}, not {_kind(given)}.")
    for name, given, method, hint in (
        ("sessions", sessions, "claim", "a session store, such as a RedisSessionStore"),
        ("streams", streams, "append", "a stream manager, such as a RedisStreamManager"),
    ):
        if given is not None and (isinstance(given, type) or not callable(getattr(given, method, None))):
            raise TypeError(f"`{name}` must be {hint}, not {_kind(given)}.")


def _kind(given: object) -> str:
    return f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__


def check_path(path: str, *, metrics: bool) -> None:
    """Refuse a path that cannot be served, or that something else has.

    Raises:
        ValueError: It says which.
    """
    if not path.startswith("/"):
        raise ValueError(f"`path` must begin with a slash, such as /mcp; {path!r} does not.")
    taken = [READY_PATH, *([METRICS_PATH] if metrics else [])]
    if path in taken:
        raise ValueError(f"`path` cannot be {path!r}, which this application uses for something else.")


def check_names(hosts: Sequence[str] | None, origins: Sequence[str] | None) -> None:
    """Refuse names that no `Host` or `Origin` header has: all requests would be refused for them.

    Raises:
        ConfigError: It is not a list of texts.
        ValueError: One of them is not a name.
    """
    for host in () if hosts is None else listed("allowed_hosts", hosts):
        if not _HOST.fullmatch(host):
            hint = _host_in(host) or "mcp.example.com"
            raise ValueError(f"`allowed_hosts` has {host!r}, which is not a host name. Write it as {hint!r}.")
    for origin in () if origins is None else listed("allowed_origins", origins):
        scheme, separator, host = origin.partition("://")
        if origin not in ("*", "null") and not (scheme and separator and _HOST.fullmatch(host)):
            hint = f"https://{_host_in(origin) or 'app.example.com'}"
            raise ValueError(f"`allowed_origins` has {origin!r}, which is not a valid origin. Write it as {hint!r}.")


def _host_in(text: str) -> str | None:
    """The host and port in what looks like a URL."""
    try:
        found = urlsplit(text if "://" in text else f"//{text}").netloc.rpartition("@")[2]
    except ValueError:
        return None
    return found if _HOST.fullmatch(found) else None


def check_callback(name: str, callback: Callable[..., object] | None) -> None:
    """Refuse what cannot be called, or would have to be awaited.

    Raises:
        TypeError: It names the setting.
    """
    if callback is None:
        return
    if not callable(callback):
        raise TypeError(f"`{name}` must be a function, not {_kind(callback)}.")
    if inspect.iscoroutinefunction(callback):
        raise TypeError(f"`{name}` must be a plain function, not an async one: its result is not awaited.")
