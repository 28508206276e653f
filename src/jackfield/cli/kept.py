"""Sessions that the background process keeps between commands: a request on one needs neither a start nor the SDK."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConfigError, DaemonError, JackfieldError
from .exits import UsageError
from .output import Output
from .steps import ProgressListener, Result, Steps, seconds_left
from .targets import Target
from .text import state_lost

if TYPE_CHECKING:
    from ..daemon.kept import KeptSession


WARM = "JACKFIELD_WARM"
"""Set to 1, it has the background process open a server ahead of each call."""


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
            raise UsageError("--key is for sessions of configured servers.", hint="See: jackfield open --help")
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
            f"No session of server {target.server_name!r} is kept under the key {key!r}.",
            server_name=target.server_name,
            sent=False,
            hint=f"Open it: jackfield open {target.server_name} --key {key}",
        )
    return None


@contextlib.contextmanager
def warm_session(target: Target, output: Output) -> Generator[KeptRequests | None]:
    """A session that the background process has opened ahead, for one command; `None` where that is not asked for.

    Args:
        target: Its server, which must be trusted.
        output: Gets what the user should know of it.

    Raises:
        JackfieldError: The server cannot be opened.
    """
    from ..local.directory import is_supported

    if os.environ.get(WARM, "") in ("", "0") or target.load_fields is None or not is_supported():
        yield None
        return
    from ..daemon.kept import lent_session

    fields, origin = target.load_fields()
    try:
        session = lent_session(fields, origin=origin)
    except DaemonError as error:
        # One of another version, for example: the call can be made without it.
        output.detail(error.message)
        yield None
        return
    try:
        yield KeptRequests(session, output)
    finally:
        with contextlib.suppress(JackfieldError):
            session.give_back()


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
