"""The screen of `jackfield top`: looks again every second, and does what keys say once that was confirmed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import signal
import sys
import threading
from collections.abc import Callable
from typing import TypeVar, cast

from prompt_toolkit.application import Application
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import Layout, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from ..errors import JackfieldError
from ..transport.spawn import ENDING
from .exits import OK
from .processes import HeldSession, Processes
from .top_view import TopView

_T = TypeVar("_T")

_EVERY_SECONDS = 1.0

_STYLE = Style.from_dict(
    {
        "title": "bold",
        "heading": "underline",
        "process": "bold",
        "silent": "ansiyellow",
        "quiet": "ansibrightblack",
        "chosen": "reverse",
        "error": "ansired",
        "question": "bold ansiyellow",
    }
)


class TopScreen:
    """Shows the processes on the whole terminal until a key or a signal ends it.

    Args:
        processes: Looked at once already.
        color: Whether to colour.
    """

    def __init__(self, processes: Processes, *, color: bool) -> None:
        self._processes = processes
        self._view = TopView(processes.found, can_draw_bars=_has_bars())
        self._asked: tuple[str, HeldSession] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._look_again = asyncio.Event()
        self._app: Application[int] = Application(
            Layout(Window(FormattedTextControl(self._text, show_cursor=False), always_hide_cursor=True)),
            key_bindings=self._keys(),
            style=_STYLE,
            color_depth=None if color else ColorDepth.DEPTH_1_BIT,
            full_screen=True,
        )

    def run(self) -> int:
        """Show them; returns the exit code.

        Raises:
            KeyboardInterrupt: By Ctrl-C; the terminal is as it was before.
            SystemExit: By SIGTERM and SIGHUP, likewise.
        """
        return asyncio.run(self._run())

    async def _run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._end_by, number)
        looking = asyncio.create_task(self._look())
        try:
            return await self._app.run_async()
        finally:
            for task in (looking, *self._tasks):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    def _end_by(self, number: int) -> None:
        self._app.exit(exception=SystemExit(128 + number))

    async def _look(self) -> None:
        while True:
            try:
                # A thread: it waits for processes that may hang.
                self._view.processes = await _in_thread(self._processes.look)
            except JackfieldError as error:
                self._view.message = error.message
            self._app.invalidate()
            self._look_again.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_again.wait(), _EVERY_SECONDS)

    # What is drawn

    def _text(self) -> StyleAndTextTuples:
        size = self._app.output.get_size()
        lines = self._view.lines(size.columns, size.rows)
        text: StyleAndTextTuples = []
        for number, (style, line) in enumerate(lines):
            text.append((style, line + ("\n" if number < len(lines) - 1 else "")))
        return text

    # What is done

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        is_asking = Condition(lambda: self._asked is not None)

        @keys.add("up", filter=~is_asking)
        @keys.add("k", filter=~is_asking)
        def _(event: KeyPressEvent) -> None:
            self._move(-1)

        @keys.add("down", filter=~is_asking)
        @keys.add("j", filter=~is_asking)
        def _(event: KeyPressEvent) -> None:
            self._move(1)

        @keys.add("c", filter=~is_asking)
        def _(event: KeyPressEvent) -> None:
            self._ask("close")

        @keys.add("r", filter=~is_asking)
        def _(event: KeyPressEvent) -> None:
            self._ask("refresh")

        @keys.add("y", filter=is_asking)
        def _(event: KeyPressEvent) -> None:
            self._act()

        @keys.add("<any>", filter=is_asking)
        def _(event: KeyPressEvent) -> None:
            self._asked, self._view.question, self._view.message = None, None, "Nothing was changed."

        @keys.add("q", filter=~is_asking)
        def _(event: KeyPressEvent) -> None:
            event.app.exit(result=OK)

        @keys.add("c-c", eager=True)
        def _(event: KeyPressEvent) -> None:
            event.app.exit(exception=KeyboardInterrupt)

        return keys

    def _move(self, by: int) -> None:
        self._view.message = ""
        self._view.move(by)

    def _ask(self, what: str) -> None:
        session = self._view.chosen_session()
        if session is None:
            self._view.message = "There is no session."
            return
        name = _name(session)
        holder = self._view.process_of(session).title
        consequence = {
            "close": "The server's state for it is lost.",
            "refresh": "It is reopened, and the server's state for it is lost.",
        }
        self._asked = what, session
        self._view.question = f"{what.capitalize()} {name} of {holder}? {consequence[what]}"

    def _act(self) -> None:
        assert self._asked is not None
        (what, session), self._asked, self._view.question = self._asked, None, None
        self._view.message = f"{'Closing' if what == 'close' else 'Refreshing'} {_name(session)} ..."
        task = asyncio.get_running_loop().create_task(self._done(what, session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _done(self, what: str, session: HeldSession) -> None:
        try:
            is_found = await _in_thread(lambda: self._processes.act(what, session))
        except JackfieldError as error:
            self._view.message = f"{what.capitalize()} {_name(session)}: {error.message}"
        else:
            done = "Closed" if what == "close" else "Refreshed"
            self._view.message = f"{done} {_name(session)}." if is_found else f"{_name(session)} was already closed."
        self._look_again.set()
        self._app.invalidate()


async def _in_thread(function: Callable[[], _T]) -> _T:
    """Run something that waits for another process, in a thread that the end of this one does not wait for."""
    done: concurrent.futures.Future[_T] = concurrent.futures.Future()

    def run() -> None:
        try:
            done.set_result(function())
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    # Shielded: what is done there cannot be taken back, and a future that was cancelled takes no result.
    return await asyncio.shield(asyncio.wrap_future(done))


def _name(session: HeldSession) -> str:
    key = session.facts.get("key")
    return str(session.facts["server"]) + (f" ({key})" if key else "")


def _has_bars() -> bool:
    try:
        "▁".encode(cast("str", getattr(sys.stdout, "encoding", None) or "ascii"))
    except (UnicodeError, LookupError):
        return False
    return True
