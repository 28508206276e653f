"""The requests that a client can make to the daemon, and their answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import DaemonError, JackfieldError
from ..local.protocol import HEADER, PROTOCOL, framed, packed, process_facts
from ..loops import Deadline
from ..session.offers import known_tools, list_for_catalog
from ..session.requests import as_json, make_request
from ..session.session import caller_of
from .sessions import KeptEntry, KeptSessions, Wanted

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT

logger: logging.Logger = logging.getLogger("jackfield")


class Requests:
    """Answers requests.

    Args:
        sessions: The kept sessions.
        end: Begins to end the process.
        started_at: When the process started, on the monotonic clock.
    """

    def __init__(self, sessions: KeptSessions, end: Callable[[], None], started_at: float) -> None:
        self._sessions = sessions
        self._end = end
        self._started_at = started_at

    async def answer(self, request: Mapping[str, Any], on_progress: ProgressFnT) -> bytes:
        """Execute the request; returns the answer as a frame.

        Raises:
            JackfieldError: It could not be done.
        """
        do = request.get("do")
        if do not in ("ps", "end") and request.get("protocol") != PROTOCOL:
            raise DaemonError(
                f"The background process speaks version {PROTOCOL} of its protocol, the command another.",
                sent=False,
                hint="To stop it and close its sessions: jackfield close --all",
            )
        match do:
            case "ps":
                return packed({"result": self._ps()})
            case "end":
                return packed({"result": await self._end_all(request.get("if_empty") is True)})
            case "find":
                return packed({"result": self._find(Wanted.of(request, self._sessions.daemon_id))})
            case "lend":
                return packed({"result": {"key": await self._lend(request)}})
            case "take_back":
                wanted = Wanted.of(request, self._sessions.daemon_id)
                await self._sessions.take_back(wanted, replace=request.get("replace") is True)
                return packed({"result": None})
            case "list":
                return packed({"result": await self._list(request)})
            case "open":
                return packed({"result": await self._open(request)})
            case "close":
                closed = await self._sessions.close(request.get("server_name"), request.get("key"))
                return packed({"result": _named(closed)})
            case "close_session":
                return packed({"result": {"found": await self._sessions.close_one(str(request.get("id")))}})
            case "refresh_session":
                return packed({"result": {"found": await self._sessions.refresh_one(str(request.get("id")))}})
            case "request":
                return await self._request(request, on_progress)
            case _:
                raise DaemonError(f"The background process does not know the request {do!r}.", sent=False)

    def _ps(self) -> dict[str, Any]:
        return {
            "process": process_facts("background", "jackfield", self._started_at, self._sessions.recent.last_error),
            "sessions": self._sessions.infos(),
        }

    def _find(self, wanted: Wanted) -> dict[str, Any] | None:
        found = self._sessions.find(wanted)
        kept = found or self._sessions.older(wanted)
        return None if kept is None else {**self._sessions.info(kept), "changed": found is None}

    async def _end_all(self, if_empty: bool) -> dict[str, Any]:
        if if_empty:
            if is_empty := not len(self._sessions):
                self._end()
            return {"ended": is_empty, "closed": []}
        closed = await self._sessions.close(None, None)
        self._end()
        return {"ended": True, "closed": _named(closed)}

    async def _open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        wanted = Wanted.of(request, self._sessions.daemon_id)
        kept, note = self._chosen(wanted, keep=True)
        assert kept
        was_open = kept.opened_at is not None
        started = time.monotonic()
        async with self._sessions.use(kept, Deadline.after(None)) as session:
            if request.get("idle") is not None:
                kept.idle_timeout = wanted.idle_timeout
            caller = caller_of(session)
            listing, _ = await known_tools(caller, caller.deadline(None))
            about = session.server_info
            seconds = time.monotonic() - started
        return {
            "session": self._sessions.info(kept),
            "opened": not was_open,
            "seconds": round(seconds, 3),
            "server_info": {"name": about.name, "version": about.version} if about else None,
            "tools": len(listing.tools) if listing else 0,
            "note": note,
        }

    async def _lend(self, request: Mapping[str, Any]) -> str | None:
        """The key of a session that is lent; `None` to a command whose catalog is not this process's own."""
        if request.get("catalog") not in (None, self._sessions.catalog_folder):
            return None
        wanted = Wanted.of(request, self._sessions.daemon_id)
        return (await self._sessions.lend(wanted, Deadline.after(request.get("timeout")))).key

    async def _list(self, request: Mapping[str, Any]) -> bool:
        """Have a server that is lent list what it offers, for the catalog; whether it still is lent."""
        kept = self._sessions.find(Wanted.of(request, self._sessions.daemon_id))
        if kept is None:
            return False
        async with self._sessions.use(kept, Deadline.after(None)) as session:
            caller = caller_of(session)
            await list_for_catalog(caller, caller.deadline(None))
        return True

    async def _request(self, request: Mapping[str, Any], on_progress: ProgressFnT) -> bytes:
        wanted = Wanted.of(request, self._sessions.daemon_id)
        kept, note = self._chosen(wanted, keep=request.get("keep") is True)
        if kept is None:
            return packed({"result": None, "kept": False})
        deadline = Deadline.of(request.get("timeout"), kept.config.session.call_timeout)
        async with self._sessions.use(kept, deadline) as session:
            kept.calls += not str(request.get("method")).endswith("/list")
            try:
                result = await make_request(
                    session,
                    str(request.get("method")),
                    request.get("params") or {},
                    call_timeout=deadline,
                    progress_callback=on_progress,
                )
            except JackfieldError as error:
                kept.errors += 1
                kept.news.tell_by(error)
                raise
            is_error = getattr(result, "is_error", False)
            kept.errors += is_error is True
            about = {
                "kept": True,
                "generation": session.generation,
                "state_lost": kept.news.tell(session.generation),
                "note": note,
            }
        # Results may be large, so they are not made JSON twice.
        return framed(b'{"result":' + as_json(result).encode() + b"," + packed(about)[HEADER.size + 1 :])

    def _chosen(self, wanted: Wanted, *, keep: bool) -> tuple[KeptEntry | None, str | None]:
        """The session to use, a new one if needed and allowed; and a note for the user."""
        if kept := self._sessions.find(wanted):
            self._sessions.make_current(kept)
            return kept, None
        older = self._sessions.older(wanted)
        if older is None:
            return (self._sessions.keep(wanted) if keep else None), None
        note = (
            f"The configuration of {wanted.config.server_name} has changed since its session was opened, "
            "so a new one is opened; the old one is kept until it is idle for too long."
        )
        fresh = self._sessions.keep(wanted)
        fresh.idle_timeout = older.idle_timeout
        return fresh, note


def _named(closed: Sequence[KeptEntry]) -> list[dict[str, str]]:
    return [{"server": kept.server_name, "key": kept.key} for kept in closed]
