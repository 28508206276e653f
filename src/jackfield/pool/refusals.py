"""The errors of a manager that cannot give a session: it is full, closed, or in use on another event loop."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..config.servers import BaseServerConfig
from ..errors import JackfieldError, PoolTimeoutError, SessionTerminatedError, SessionTimeoutError
from ..loops import Deadline
from ..session.owner import SessionOwner
from .decisions import Refuse


def no_room(
    config: BaseServerConfig,
    deadline: Deadline,
    slots: Sequence[SessionOwner],
    max_sessions: int,
    held: Collection[str],
    *,
    is_closing: bool,
    is_stuck: bool,
) -> SessionTimeoutError:
    """A caller waited for a session until its deadline.

    Args:
        config: The server.
        deadline: Of the caller.
        slots: All sessions of the manager.
        max_sessions: How many there may be.
        held: The servers that the caller has sessions of.
        is_closing: It waited for the key's last session to close.
        is_stuck: All who wait hold sessions that others wait for.
    """
    name, of_server = config.server_name, config.session.max_sessions
    if is_closing:
        return SessionTimeoutError(
            f"The previous session of server {name!r} with this key is still closing after {deadline.seconds:g} s.",
            server_name=name,
            seconds=deadline.seconds,
            sent=False,
            retryable=True,
            hint="Raise acquire_timeout, or lower close_timeout in the server's session settings.",
        )
    busy = sum(slot.leases > 0 for slot in slots)
    count = f"{len(slots)} of max_sessions={max_sessions} are open"
    whose = "the manager"
    if of_server is not None:
        mine = sum(slot.config.server_name == name for slot in slots)
        count += f" (of this server {mine} of {of_server})"
        whose = whose if mine < of_server else f"the session settings of {name!r}"
    count += f", {busy} in use"
    what = f"No room for a session of server {name!r} within {deadline.seconds:g} s"
    hint = f"Close sessions earlier, or raise acquire_timeout, or max_sessions of {whose}."
    if held:
        count += f". The caller itself holds a session of {', '.join(sorted(map(repr, held)))} while it waits"
        hint = f"Close that session before you open another, or raise max_sessions of {whose}."
    if is_stuck:
        what = f"No session of server {name!r} can ever become free"
        count += ", as does every other caller that waits"
    return PoolTimeoutError(
        f"{what}: {count}.", server_name=name, seconds=deadline.seconds, sent=False, retryable=True, hint=hint
    )


def not_open_in_time(server_name: str, deadline: Deadline) -> SessionTimeoutError:
    """There was room for a session, and it was not open by the deadline."""
    return SessionTimeoutError(
        f"Server {server_name!r} was not open within {deadline.seconds:g} s.",
        server_name=server_name,
        seconds=deadline.seconds,
        sent=False,
        retryable=True,
        hint="Raise acquire_timeout, which covers waiting for room, opening and recovery.",
    )


def closed_error(server_name: str | None = None) -> SessionTerminatedError:
    """The manager no longer exists."""
    return SessionTerminatedError(
        "The session manager was closed.",
        server_name=server_name,
        sent=False,
        hint="Open sessions inside the manager's `async with` block.",
    )


class OtherLoopError(JackfieldError):
    """The manager is in use on another event loop."""


def other_loop_error() -> OtherLoopError:
    """The manager is in use on another event loop."""
    return OtherLoopError(
        "This manager has sessions open on another event loop, and a session cannot change loops.",
        sent=False,
        hint="Make one MCPClientSessionManager for each event loop or thread.",
    )


def refused(config: BaseServerConfig, decision: Refuse) -> PoolTimeoutError:
    """There is no room for a session, and none is waited for."""
    return PoolTimeoutError(
        f"No session of server {config.server_name!r} was opened: the limit is reached, and all are in use "
        f"(`{decision.bound}` is {decision.maximum}).",
        server_name=config.server_name,
        sent=False,
        retryable=True,
        hint="Try again when other calls have ended, or raise the limit.",
    )
