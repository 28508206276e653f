"""Sessions kept by the background process between commands: a request on one needs neither a start nor the SDK."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConfigError, DaemonError, JackfieldError
from .exits import UsageError, unwound_by_signals
from .output import Output
from .request_steps import ProgressListener, Result, Steps, seconds_left
from .targets import Target, known_version
from .text import state_lost

if TYPE_CHECKING:
    from ..daemon.kept import KeptSession


WARM = "JACKFIELD_WARM"
"""Set to 1, it starts the background process, and has it open a server ahead of each call; with 0, it only keeps."""


def is_warm() -> bool | None:
    """What the environment says: `True` to start the background process, `False` to leave it out of calls; `None` to
    use it where it runs."""
    text = os.environ.get(WARM, "").strip().lower()
    return None if not text else text not in ("0", "false", "no", "off")


def kept_session(target: Target, key: str | None, output: Output) -> KeptRequests | None:
    """The kept session that requests are to go through; with `keep_alive` in the configuration it is opened by them.

    Args:
        target: Its server, which must be trusted.
        key: Which of the server's kept sessions; that without a key if omitted.
        output: Gets what the user should know of it.

    Raises:
        DaemonError: There is none of that key; or the background process cannot be trusted, or does not answer.
        ConfigError: The server's entry is wrong.
        NotTrustedError: The user has not accepted the server.
    """
    from ..daemon import lookup

    if target.load_fields is None:
        if key is not None:
            raise UsageError("--key works only with sessions of configured servers.", hint="See: jackfield open --help")
        return None
    fields, origin = target.load_fields()
    try:
        session = lookup(fields, key=key, origin=origin)
    except ConfigError:
        target.load_config()  # says where it stands
        raise
    if session is not None:
        return KeptRequests(session, output)
    if key is not None:
        raise DaemonError(
            f"No session of server {target.server_name!r} is open under the key {key!r}.",
            server_name=target.server_name,
            sent=False,
            hint=f"Open it: jackfield open {target.server_name} --key {key}",
        )
    return None


@contextlib.contextmanager
def warm_session(target: Target, output: Output, timeout: float | None) -> Generator[KeptRequests | None]:
    """A session of the background process for one command; `None` where that is of no use, or not wanted.

    With `JACKFIELD_WARM=1` it was opened ahead. Without, the process is of use where it runs and the command would have
    to import the SDK.

    Args:
        target: Its server, which must be trusted.
        output: Gets what the user should know of it.
        timeout: Seconds in which it must be open; the server's settings if omitted.

    Raises:
        JackfieldError: The server cannot be opened.
    """
    wanted = is_warm()
    if wanted is False or target.load_fields is None or (wanted is None and (output.verbose or _is_direct(target))):
        yield None
        return
    start = wanted is True
    with unwound_by_signals(), lent(target.load_fields, output, start=start, timeout=timeout) as session:
        yield None if session is None else KeptRequests(session, output)


def _is_direct(target: Target) -> bool:
    """Whether the command needs no SDK anyway."""
    return bool(known_version(target)) and (target.load_launch() or target.load_endpoint()) is not None


@contextlib.contextmanager
def lent(
    load_fields: Callable[[], tuple[Mapping[str, Any], str]],
    output: Output,
    *,
    start: bool,
    timeout: float | None = None,
    catalog: Path | None = None,
) -> Generator[KeptSession | None]:
    """A session that the background process lends; `None` where it cannot. It is closed in the end.

    Args:
        load_fields: Gives the server's entry, and its source.
        output: Gets what the user should know of it.
        start: Start the process if none runs, and have another session opened ahead afterwards.
        timeout: Seconds in which it must be open.
        catalog: The folder of the catalog that what the server offers is to be written to.

    Raises:
        JackfieldError: The server cannot be opened.
    """
    from ..local.directory import is_supported

    if not is_supported():
        yield None
        return
    from ..daemon.kept import lent_session

    fields, origin = load_fields()
    try:
        session = lent_session(fields, origin=origin, start=start, timeout=timeout, catalog=catalog)
    except DaemonError as error:
        # One of another version, for example: it can be done without it.
        output.detail(error.message)
        session = None
    except ConfigError:
        session = None  # The command says where it stands.
    if session is None:
        yield None
        return
    try:
        yield session
    finally:
        with contextlib.suppress(JackfieldError):
            session.give_back(replace=start)


class Requests(Protocol):
    """Makes requests on an open session."""

    def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        call_timeout: float | None,
        on_progress: ProgressListener | None,
    ) -> Result:
        """Make one request of MCP.

        Raises:
            JackfieldError: As the methods of `Session`.
        """
        ...


class KeptRequests:
    """Makes requests on a session of the background process, and tells what became of it."""

    def __init__(self, session: KeptSession, output: Output) -> None:
        self._session = session
        self._output = output

    def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        call_timeout: float | None,
        on_progress: ProgressListener | None,
    ) -> Result:
        """Make one request of MCP; closing the connection, as Ctrl-C does, cancels it.

        Raises:
            JackfieldError: As the methods of `Session`.
        """
        answer = self._session.request(method, params, call_timeout=call_timeout, on_progress=on_progress)
        if answer.note:
            self._output.warn(answer.note)
        if answer.state_lost:
            self._output.warn(state_lost(self._session.server_name))
        return answer.result


def run_kept(session: Requests, steps: Steps, *, timeout: float | None, on_progress: ProgressListener | None) -> Result:
    """Make the steps on an open session and return their results.

    Args:
        session: Makes the requests.
        steps: What to ask.
        timeout: Seconds for all steps; the server's own setting for each if omitted.
        on_progress: Gets the progress of tool calls.

    Raises:
        JackfieldError: As the steps, and as `Requests.request`.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        request = next(steps)
        while True:
            try:
                left = None if deadline is None else seconds_left(deadline)
                result = session.request(request.method, request.params, call_timeout=left, on_progress=on_progress)
            except JackfieldError as error:
                request = steps.throw(error)
            else:
                request = steps.send(result)
    except StopIteration as end:
        return end.value
