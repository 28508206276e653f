"""Notifications of a server that do not conform to the protocol: dropped with one warning. The SDK would drop them with
a traceback for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..masking import mask
from .flaws import why

if TYPE_CHECKING:
    from mcp.types import JSONRPCNotification

    from .report import ConnectionReport

_PROGRESS = frozenset(("progressToken", "progress", "total", "message"))


class NotificationCheck:
    """Drops such notifications of one connection.

    Args:
        report: Of the connection.
    """

    def __init__(self, report: ConnectionReport) -> None:
        self._report = report
        self._told: set[str] = set()

    def admits(self, message: JSONRPCNotification, version: str | None) -> bool:
        """Whether the SDK can read a notification; if not, the log says so, once for each method.

        Args:
            message: The notification.
            version: Of the protocol, once it is negotiated.
        """
        if message.method == "notifications/progress" and _is_plain_progress(message.params or {}):
            return True
        if version is None or (flaw := _flaw(message, version)) is None:
            return True
        is_new = message.method not in self._told
        self._told.add(message.method)
        log = self._report.log.warning if is_new else self._report.log.debug
        log("The server's %s is ignored: it does not conform to the protocol (%s)", message.method, mask(flaw))
        return False


def _flaw(message: JSONRPCNotification, version: str) -> str | None:
    from mcp.types import methods
    from pydantic import ValidationError

    try:
        methods.parse_server_notification(message.method, version, message.params)
    except KeyError:
        return None  # Of an extension, or of another version.
    except ValidationError as error:
        return why(error)
    except (RecursionError, ValueError):
        return "it is nested too deep"
    return None


def _is_plain_progress(params: Mapping[str, Any]) -> bool:
    """Whether progress certainly conforms: there may be thousands a second."""
    token, progress, total = params.get("progressToken"), params.get("progress"), params.get("total", 0)
    return (
        params.keys() <= _PROGRESS
        and type(token) in (str, int)
        and type(progress) in (int, float)
        and type(total) in (int, float)
        and isinstance(params.get("message", ""), str)
    )
