"""Masks secrets wherever text leaves: in errors, logs, spans and quotes of a server's words.

The values that are sent to servers are known (see `secret_values`), each in every form that it is usually quoted in,
for as long as the object that holds them lives and a while longer. `mask` replaces them in any text. What a tool
returns is data, and never goes through here.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import weakref
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, cast

MASK = "**********"
"""Stands where a secret was."""

SHORTEST_SECRET_CHARS = 6
"""What is shorter is not masked: it would be found everywhere."""

# Released last: what a server still says of a connection that was closed.
_RECENT = 256
_MANY_FORMS = 500


class _Known:
    """The values known now, in all their forms, found by their first and last characters."""

    def __init__(self) -> None:
        self.forms: Counter[str] = Counter()
        self.starts: dict[str, tuple[str, ...]] = {}
        self.ends: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        self._released: deque[frozenset[str]] = deque()

    def keep(self, owner: object, forms: frozenset[str]) -> None:
        with self._lock:
            while len(self._released) > _RECENT:
                for form in self._released.popleft():
                    self._drop(form)
            for form in forms:
                self.forms[form] += 1
                if self.forms[form] == 1:
                    self._index(form)
        # A finalizer may run at any moment, also inside of the lock.
        weakref.finalize(owner, self._released.append, forms).atexit = False

    def _index(self, form: str) -> None:
        for index, part in self._parts(form):
            index[part] = tuple(sorted({*index.get(part, ()), form}, key=len, reverse=True))

    def _drop(self, form: str) -> None:
        self.forms[form] -= 1
        if self.forms[form] == 0:
            del self.forms[form]
            for index, part in self._parts(form):
                index[part] = tuple(other for other in index[part] if other != form)
                if not index[part]:
                    del index[part]

    def _parts(self, form: str) -> tuple[tuple[dict[str, tuple[str, ...]], str], ...]:
        return (self.starts, form[:SHORTEST_SECRET_CHARS]), (self.ends, form[-SHORTEST_SECRET_CHARS:])


_known = _Known()


def keep_forms(owner: object, forms: frozenset[str]) -> None:
    """Mask these texts from now on; they are forgotten some time after their owner is gone."""
    if forms:
        _known.keep(owner, forms)


def mask(text: str, *, is_cut: bool = False) -> str:
    """The text with all known secrets masked.

    Args:
        text: Of any length.
        is_cut: It was taken out of a longer one, so that part of a secret may stand at its beginning or end.
    """
    if not _known.starts or len(text) < SHORTEST_SECRET_CHARS:
        return text
    # Quicker than to look at each place, unless there are many.
    if not is_cut and len(_known.forms) < _MANY_FORMS and not any(form in text for form in list(_known.forms)):
        return text
    pieces: list[str] = []
    begin = end = done = 0
    for start, stop in _places(text, is_cut):
        if start > end:
            pieces += [text[done:begin], MASK] if end else []
            begin, done = start, end
        end = max(end, stop)
    return "".join([*pieces, text[done:begin], MASK, text[end:]]) if end else text


def _places(text: str, is_cut: bool) -> Iterator[tuple[int, int]]:
    """Where secrets are, from the beginning on; they may overlap."""
    width, starts, ends = SHORTEST_SECRET_CHARS, _known.starts, _known.ends
    if is_cut:
        longest = max(map(len, list(_known.forms)), default=0)
        for at in range(min(longest, len(text)), width - 1, -1):
            if any(form.endswith(text[:at]) for form in ends.get(text[at - width : at], ())):
                yield 0, at
                break
    for at in range(len(text) - width + 1):
        for form in starts.get(text[at : at + width], ()):
            if text.startswith(form, at) or (is_cut and form.startswith(text[at:])):
                yield at, min(at + len(form), len(text))
                break


def masked(value: Any) -> Any:
    """The value with what is text in it masked: in lists, tuples and tables, too."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [masked(item) for item in cast("list[Any]", value)]
    if isinstance(value, tuple):
        return tuple(masked(item) for item in cast("tuple[Any, ...]", value))
    if isinstance(value, dict):
        return {masked(name): masked(item) for name, item in cast("dict[Any, Any]", value).items()}
    return value


class HiddenValues(dict[str, str]):
    """Headers or variables whose values are not shown."""

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self, MASK))


# Logs of libraries

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
        if _known.starts:
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
