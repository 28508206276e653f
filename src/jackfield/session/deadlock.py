"""Finds out whether a thread waits for what the asking thread does, so that neither can go on.

A synchronous agent run on an event loop blocks that loop's thread until the tools, called in a pool of threads, have
answered. A tool whose session lives on that loop would wait for it in vain. The stacks of the threads prove it: one
waits for a future that another works on. What is not proved is not claimed, for a loop may be merely busy.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed, thread, wait
from types import FrameType
from typing import Any, cast

_WORKING = cast("Any", thread)._WorkItem.run.__code__
_JOINING = threading.Thread.join.__code__
_WAITING_FOR_ONE = (cast("Any", Future).result.__code__, cast("Any", Future).exception.__code__, _JOINING)
_WAITING_FOR_SEVERAL = (wait.__code__, as_completed.__code__)


def is_waited_for_by(thread_id: int) -> bool:
    """Whether that thread waits for this one, or for another that waits for this one."""
    # CPython's own, for debuggers. A thread that waits does not change its frames meanwhile.
    frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]
    stacks = {number: list(_stack(frame)) for number, frame in frames.items()}
    waiting: int | None = threading.get_ident()
    done: set[int] = set()
    while waiting is not None and waiting != thread_id:
        done |= _done_by(waiting, stacks.pop(waiting))
        waiting = next((number for number, stack in stacks.items() if _awaited(stack) & done), None)
    return waiting is not None


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _done_by(thread_id: int, stack: Sequence[FrameType]) -> set[int]:
    """What is done when this thread is: the thread itself, and the futures that it works on."""
    items = [frame.f_locals.get("self") for frame in stack if frame.f_code is _WORKING]
    own = [one for one in threading.enumerate() if one.ident == thread_id]
    return {id(one) for one in (*own, *(getattr(item, "future", None) for item in items)) if one is not None}


def _awaited(stack: Sequence[FrameType]) -> set[int]:
    """The futures and threads that a thread waits for."""
    awaited: set[int] = set()
    for frame in stack:
        if frame.f_code in _WAITING_FOR_ONE:
            awaited.add(id(frame.f_locals.get("self")))
        elif frame.f_code in _WAITING_FOR_SEVERAL:
            awaited |= {id(one) for one in cast("Iterable[object]", frame.f_locals.get("fs") or ())}
    return awaited
