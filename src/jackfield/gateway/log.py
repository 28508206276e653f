"""The log of a gateway on stderr, for people or as a line of JSON for each record; with a record for each call."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from opentelemetry import trace

from ..errors import one_line
from ..logs import FIELDS
from ..masking import mask
from .activity import Activity, Call

LogFormat = Literal["text", "json"]

_CHARS = 2_000
_logger = logging.getLogger("jackfield")


@contextmanager
def logging_to_stderr(log_format: LogFormat) -> Generator[None]:
    """While in this context, write the log of Jackfield, and warnings of what it uses, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if log_format == "json" else _Lines("%(asctime)s %(levelname)s %(message)s"))
    # The SDK logs what clients and servers do wrong, too.
    levels = {"jackfield": logging.INFO, "mcp": logging.WARNING, "asyncio": logging.WARNING}
    loggers = {logging.getLogger(name): level for name, level in levels.items()}
    before = {logger: logger.level for logger in loggers}
    for logger, level in loggers.items():
        logger.addHandler(handler)
        logger.setLevel(min(level, logger.level or level))
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.removeHandler(handler)
            logger.setLevel(level)


def log_calls(activity: Activity) -> None:
    """Log each call when it has ended."""
    activity.on_ended.append(_log)


def _log(call: Call) -> None:
    fields: dict[str, Any] = {
        "user": call.user,
        "client": call.client,
        "session": call.session,
        "server": call.server,
        "method": call.method,
        "name": call.name,
        "ms": round(call.ms or 0.0, 1),
        "outcome": call.outcome,
        "error": call.error,
    }
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        fields["trace_id"] = trace.format_trace_id(span.trace_id)
    text = f"{call.method} {call.server}.{call.name}: {call.outcome} in {fields['ms']} ms"
    _logger.info("[MCP][gateway] %s", text, extra={FIELDS: {key: value for key, value in fields.items() if value}})


class _Lines(logging.Formatter):
    """One line a record: names come from clients and servers, and might feign another record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in logging
        record.message = one_line(mask(record.message), _CHARS)
        return super().formatMessage(record)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": one_line(mask(record.getMessage()), _CHARS),
        }
        fields: dict[str, Any] = getattr(record, FIELDS, {})
        line |= {
            key: one_line(mask(value), _CHARS) if isinstance(value, str) else value for key, value in fields.items()
        }
        if record.exc_info:
            line["exception"] = mask(self.formatException(record.exc_info))
        elif record.exc_text:
            line["exception"] = record.exc_text
        return json.dumps(line)
