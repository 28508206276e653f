"""Shared by `call`, `read` and `prompt`: make the request and show the result."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from ..config.keys import SIX_HOURS, implausible
from ..errors import Details, JackfieldError, PoolTimeoutError, SessionTerminatedError, SessionTimeoutError, ToolError
from .exits import UsageError
from .output import Output
from .rendering import STYLES, Style, shown

if TYPE_CHECKING:
    from .kept import KeptRequests
    from .progress import ProgressLine
    from .request_steps import Result, Steps
    from .shell_sessions import HeldSession
    from .targets import Target


@dataclass(frozen=True)
class Wishes:
    """How a request is to be made and shown."""

    output: Output
    style: Style
    folder: Path | None
    timeout: float | None
    key: str | None = None

    @classmethod
    def of(
        cls, output: Output, style: str | None, folder: Path | None, timeout: float | None, key: str | None = None
    ) -> Wishes:
        """Check the options before anything is started.

        Raises:
            UsageError: One of them is wrong.
        """
        chosen = style or ("json" if output.as_json else "text")
        if chosen not in STYLES:
            from ..names import did_you_mean

            raise UsageError(f"--output: there is no style {style!r}.", hint=did_you_mean(chosen, STYLES, "style"))
        if timeout is not None and not 0 < timeout < float("inf"):
            raise UsageError(f"--timeout: {timeout:g} is not a positive number of seconds.")
        if timeout is not None and (problem := implausible(timeout, SIX_HOURS)):
            raise UsageError(f"--timeout: {problem}")
        if folder is not None:
            from .saving import save_folder

            folder = save_folder(folder)
        return cls(output, cast("Style", chosen), folder, timeout, key)


def make(target: Target, steps: Steps, wishes: Wishes) -> Result:
    """Make the steps: on the kept session or the shell's session if there is one, otherwise on a new session.

    Raises:
        JackfieldError: They could not be made.
    """
    from .kept import kept_session, run_kept, warm_session
    from .request_steps import seconds_left
    from .shell_sessions import held_sessions

    output, timeout = wishes.output, wishes.timeout
    began = time.monotonic()
    with ExitStack() as stack:
        progress = None
        if output.shows_progress:
            from .progress import ProgressLine

            progress = stack.enter_context(ProgressLine(output.width))
        kept: KeptRequests | HeldSession | None = kept_session(target, wishes.key, output)
        if kept is None and (held := held_sessions.get()) is not None:
            kept = held.session(target.load_config(), output)
        if kept is None:
            kept = stack.enter_context(warm_session(target, output, timeout))
        try:
            if kept is not None:
                left = None if timeout is None else seconds_left(began + timeout)
                return run_kept(kept, steps, timeout=left, on_progress=progress)
            from .live import run_live

            if progress is not None:
                entry = None if target.catalog is None else target.catalog.entry(target.server)
                progress.opening(target.server_name, entry.open_seconds if entry is not None else None)
                steps = _wiped_by(steps, progress)
            return run_live(target, steps, timeout=wishes.timeout, on_progress=progress, output=output)
        except PoolTimeoutError:
            raise
        except SessionTimeoutError as error:
            message = error.message
            if wishes.timeout is not None and error.seconds != wishes.timeout:
                # What is left for the answer is less by what opening took; the user knows only the whole.
                message = f"Not completed within {wishes.timeout:g} s: {message}"
            raise error.told(message=message, hint="Allow more time with --timeout SECONDS.") from None
        except SessionTerminatedError as error:
            # The library's advice is for callers that continue with the session; here, only a kept session continues.
            if kept is not None:
                raise
            doctor = f"To find the problem: jackfield doctor {target.server_name}"
            raise error.told(hint=doctor if target.is_configured else "Run it by hand to see why.") from None


def _wiped_by(steps: Steps, progress: ProgressLine) -> Steps:
    """The steps; their answers wipe the line."""
    try:
        request = next(steps)
        while True:
            try:
                answer = yield request
            except JackfieldError as error:
                progress.wipe()
                request = steps.throw(error)
            else:
                progress.wipe()
                request = steps.send(answer)
    except StopIteration as end:
        return end.value


def show(result: Result, target: Target, wishes: Wishes) -> None:
    """Print a result, and write its files.

    Raises:
        ToolError: The result is an error of the tool's own.
        OutputError: It cannot be written; what can be is.
    """
    output, failure = wishes.output, None
    is_error = result.get("isError") is True
    if is_error and wishes.style != "raw":
        raise _tool_error(result, target)
    if wishes.folder is not None:
        from .saving import saved

        result, failure = saved(result, wishes.folder, target.name)
    text = shown(result, wishes.style)
    if text:
        output.write(_safe(text) if output.for_people else text)
    if failure is not None:
        raise failure
    if is_error:
        raise _tool_error(result, target)


class _ToolFailedError(ToolError):
    """The tool's own error, told with its words whole: they may be all there is to find the cause by."""

    def __init__(self, message: str, words: str, **details: Unpack[Details]) -> None:
        super().__init__(f"{message}: {words}" if words else f"{message}.", **details)
        self._text = f"{message}:\n{words}" if words else f"{message}."

    def __str__(self) -> str:
        return self._text


def _tool_error(result: Mapping[str, Any], target: Target) -> JackfieldError:
    words = shown(result, "text").strip().expandtabs()
    message = f"Tool {target.name!r} of server {target.server_name!r} reported an error"
    return _ToolFailedError(message, words, sent=True, server_name=target.server_name)


def _safe(text: str) -> str:
    """The text without what would steer a terminal or turn its words around."""
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "?", text.replace("\r\n", "\n"))
