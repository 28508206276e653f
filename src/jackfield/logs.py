"""The log: lines name the server and the session, and secrets are masked, also in the lines of the libraries below."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any, cast

from .masking import KNOWN, mask

logger: logging.Logger = logging.getLogger("jackfield")
# A library prints nothing of itself; what is logged here is in the errors as well.
logger.addHandler(logging.NullHandler())

FIELDS = "jackfield_fields"
"""The attribute of a log record that tells what it is about, for logs of structured lines."""

_DEBUG_HANDLER = "MCP_SESSION_DEBUG"


def configure_debug_log() -> None:
    """Print the log to stderr, with every step and call, where `MCP_SESSION_DEBUG` is set (to anything but 0)."""
    if os.environ.get("MCP_SESSION_DEBUG", "0").lower() in ("", "0", "false", "no", "off"):
        return
    logger.setLevel(logging.DEBUG)
    if not any(handler.get_name() == _DEBUG_HANDLER for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.set_name(_DEBUG_HANDLER)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)


class SessionLog(logging.LoggerAdapter[logging.Logger]):
    """The log of one session: each line names the server and the session.

    Args:
        server_name: The server.
        session_id: The session's id; empty for what belongs to no session.
    """

    def __init__(self, server_name: str, session_id: str = "") -> None:
        super().__init__(logger)
        self._about = {FIELDS: {"server": server_name, **({"session": session_id} if session_id else {})}}
        self._name = server_name
        self._session = f" {session_id}:" if session_id else ""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Write a line, as `logging.Logger.log` does."""
        self.logger.log(
            level, f"[MCP][%s]{self._session} {msg}", self._name, *args, stacklevel=2, extra=self._about, **kwargs
        )


_LIBRARIES = frozenset(
    {
        *("anyio", "asyncio", "client", "h11", "h2", "hpack", "httpcore", "httpcore2", "httpx", "httpx2", "jackfield"),
        *("keyring", "mcp", "sse_starlette", "urllib3", "uvicorn"),
    }
)
# Made by their libraries only when they have something to do.
_LATE_LOGGERS = (
    *("anyio.streams.tls", "asyncio", "client", "jackfield", "jackfield.stdio"),
    *("httpcore2.connection", "httpcore2.http11", "httpcore2.http2", "httpcore2.proxy", "httpcore2.socks"),
)


class _MaskingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if sys.is_finalizing():
            # Nothing can be imported any more, and what an exception holds cannot be looked at: it is not shown.
            record.exc_info = None
        if KNOWN.starts:
            try:
                text = record.getMessage()
            except Exception:  # The handler says what is wrong with it.
                return True
            if (shown := mask(text)) != text:
                record.msg, record.args = shown, None
            if record.exc_info and record.exc_info[1] is not None:
                _mask_exception(record)
        return True


def _mask_exception(record: logging.LogRecord) -> None:
    """Turn an exception that shows a secret, be it in the variables of its frames, into text without it."""
    import traceback

    kind, error, trace = cast("tuple[Any, BaseException, Any]", record.exc_info)
    with contextlib.suppress(Exception):  # of the repr of some variable
        everything = "".join(traceback.TracebackException(kind, error, trace, capture_locals=True).format())
        if mask(everything) == everything:
            return
    record.exc_text = mask("".join(traceback.format_exception(kind, error, trace)))
    record.exc_info = None


_filter = _MaskingFilter()
_guarded = 0


def mask_logs() -> None:
    """Mask secrets in what the libraries below log, on all loggers that they have by now. Costs little if repeated."""
    global _guarded
    loggers = logging.root.manager.loggerDict
    if len(loggers) == _guarded:
        return
    for name in _LATE_LOGGERS:
        logging.getLogger(name)
    for name, logger in list(loggers.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _LIBRARIES:
            logger.addFilter(_filter)  # the same filter is added once only
    _guarded = len(loggers)
