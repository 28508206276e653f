"""Sessions that the background process keeps between commands: a request on one needs neither a start nor the SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import JackfieldError
from .steps import ProgressListener, Result, Steps

if TYPE_CHECKING:
    from .targets import Target


class KeptSession(Protocol):
    """A session that is open in the background process."""

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
        ...


def kept_session(target: Target) -> KeptSession | None:
    """The kept session of a server, if there is one. The one place that the background process is connected at.

    `target.load_launch()` and `target.load_config()` check whether the server is trusted; one of them comes first.
    """
    return None


def run_kept(
    session: KeptSession, steps: Steps, *, call_timeout: float | None, on_progress: ProgressListener | None
) -> Result:
    """Make the steps on a kept session; returns what they come to.

    Raises:
        JackfieldError: As the steps, and as `KeptSession.request`.
    """
    try:
        request = next(steps)
        while True:
            try:
                result = session.request(
                    request.method, request.params, call_timeout=call_timeout, on_progress=on_progress
                )
            except JackfieldError as error:
                request = steps.throw(error)
            else:
                request = steps.send(result)
    except StopIteration as end:
        return end.value
