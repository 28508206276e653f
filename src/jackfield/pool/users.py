"""`SessionUser`: a workbench, toolkit, router or query tool, which comes back to named sessions between its leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..session.calling import Caller
    from ..session.owner import SessionOwner


class SessionUser:
    """A recurring user of named sessions that relies on their state.

    As long as it exists and has not left, others do not close sessions that it will return to. If a session that it
    used has been replaced by another one for any reason, its next result says that state was
    lost.
    """

    def __init__(self) -> None:
        self.places: set[tuple[str, str]] = set()
        """Server and key of the sessions that it comes back to, open or not."""
        self._used: dict[tuple[str, str], tuple[str, int]] = {}

    def enter(self, caller: Caller) -> None:
        """It leases a session."""
        owner = caller.owner
        if self._used.get(_place(owner), _opening(owner)) != _opening(owner):
            caller.note_loss()

    def leave(self, caller: Caller) -> None:
        """It gives a session back, which is kept for it, unless that is lost or closed already."""
        owner, is_due = caller.owner, caller.news.is_due(caller.current_generation)
        if caller.knows_of_end:
            self._used.pop(_place(owner), None)
        elif owner.state == "open" and owner.holds_state and not is_due:
            self._used[_place(owner)] = _opening(owner)

    def forget_state(self, server_name: str, key: str) -> None:
        """The application itself has closed a session: its state does not count as lost."""
        self._used.pop((server_name, key), None)

    def forget(self) -> None:
        """It will not return, and no longer relies on any state."""
        self.places.clear()
        self._used.clear()


def _opening(owner: SessionOwner) -> tuple[str, int]:
    return owner.session_id, owner.generation


def _place(owner: SessionOwner) -> tuple[str, str]:
    return owner.config.server_name, owner.key or ""
