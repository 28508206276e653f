"""Opens a server for one command, makes its requests, and closes it.

A server over stdio is started before anything that is needed to speak to it is imported, so that both come up at the
same time. Whatever interrupts the command, from the start of the server to its end, ends the server too.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import time
from collections.abc import Generator
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..transport.spawn import ENDING, end_started, started_ahead
from .output import Output, silence_libraries
from .request_steps import ProgressListener, Request, Result, Steps, seconds_left

if TYPE_CHECKING:
    from ..config.servers import ServerConfig
    from .targets import Target

_NEEDED = ("..pool.session_manager", "..session.requests", "..session.session", "..transport.connection")


def run_live(
    target: Target,
    steps: Steps,
    *,
    timeout: float | None = None,
    on_progress: ProgressListener | None = None,
    output: Output,
) -> Result:
    """Open the server, make the steps, close it; returns their results.

    Args:
        target: The server.
        steps: What to ask of it.
        timeout: Seconds from here to the last answer; the server's own settings for each if omitted.
        on_progress: Gets the progress of tool calls.
        output: Says whether what libraries log is shown.

    Raises:
        JackfieldError: It could not be opened, or as the steps.
        KeyboardInterrupt: By Ctrl-C, after the server is fully closed.
        SystemExit: By SIGTERM and SIGHUP, likewise.
    """
    # On a terminal this asks whether an untrusted server is accepted, so it comes before the clock and the signals.
    launch, endpoint, config = target.load_launch(), None, None
    if launch is None and (endpoint := target.load_endpoint()) is None:
        config = target.load_config()
        if config.transport == "stdio":
            from ..config.servers import launch_of_config

            launch = launch_of_config(config)
    deadline = None if timeout is None else time.monotonic() + timeout
    first = next(steps)
    place = launch or endpoint
    if place is not None and config is None and not output.verbose:
        from .direct import LeftError, run_direct
        from .targets import known_version

        if known_version(target):
            try:
                return run_direct(target, place, first, steps, deadline=deadline, on_progress=on_progress)
            except LeftError as left:
                first = left.request
    with _interrupts_held(), started_ahead(launch) if launch is not None else contextlib.nullcontext():
        with _uncollected():
            config = config or target.load_config()
            for module in _NEEDED:
                import_module(module, __package__)
            from .running import run
        silence_libraries(output)
        if output.verbose:
            logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
        if deadline is not None:
            session = config.session.model_copy(update={"timeout": seconds_left(deadline)})
            config = config.model_copy(update={"session": session})
        return run(lambda: _made(config, first, steps, deadline, on_progress))


@contextlib.contextmanager
def _uncollected() -> Generator[None]:
    """Exclude imported modules from garbage collection: they stay until the end anyway."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


async def _made(
    config: ServerConfig,
    request: Request,
    steps: Steps,
    deadline: float | None,
    on_progress: ProgressListener | None,
) -> Result:
    from ..errors import JackfieldError
    from ..pool.session_manager import SessionManager
    from ..session.requests import as_json, make_request

    async with SessionManager().open_session(config) as session:
        try:
            while True:
                try:
                    answer = await make_request(
                        session,
                        request.method,
                        request.params,
                        call_timeout=None if deadline is None else seconds_left(deadline),
                        progress_callback=_awaited(on_progress) if on_progress else None,
                    )
                except JackfieldError as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(json.loads(as_json(answer)))
        except StopIteration as end:
            return end.value


def _awaited(listener: ProgressListener) -> Any:
    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        listener(progress, total, message)

    return on_progress


@contextlib.contextmanager
def _interrupts_held() -> Generator[None]:
    """While imports run, a signal ends server and process immediately; later `run` handles it.

    An exception could surface anywhere in third-party code, where it may be misinterpreted.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    # One that is ignored, such as by nohup, stays so.
    mine = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in mine:
        signal.signal(number, _end_at_once)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])


def _end_at_once(number: int, frame: FrameType | None) -> None:
    end_started()
    os._exit(128 + number)
