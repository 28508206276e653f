"""`SessionUser`: a workbench, toolkit, router or query tool, which comes back to named sessions between its leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..session.owner import SessionOwner
    from ..session.session import Session


class SessionUser:
    """Comes back to named sessions, and counts on the state behind them.

    As long as it exists and has not left, other users do not close sessions that it comes back to. Where one that it
    used has been replaced by another session meanwhile, however that came about, its next result says that state is
    lost.
    """

    def __init__(self) -> None:
        self.places: set[tuple[str, str]] = set()
        """Server and key of the sessions that it comes back to, open or not."""
        self._used: dict[tuple[str, str], tuple[str, int]] = {}

    def enter(self, session: Session, owner: SessionOwner) -> None:
        """It leases a session."""
        if self._used.get(_place(owner), _opening(owner)) != _opening(owner):
            session.note_loss()

    def leave(self, session: Session, owner: SessionOwner) -> None:
        """It gives a session back, which is kept for it, unless that is lost or closed already."""
        if session.knows_of_end:
            self._used.pop(_place(owner), None)
        elif owner.state == "open" and owner.holds_state and not session.state_lost:
            self._used[_place(owner)] = _opening(owner)

    def forget_state(self, server_name: str, key: str) -> None:
        """The application itself has closed a session: what was behind it is not lost, but done with."""
        self._used.pop((server_name, key), None)

    def forget(self) -> None:
        """It does not come back, and counts on no state any more."""
        self.places.clear()
        self._used.clear()


def _opening(owner: SessionOwner) -> tuple[str, int]:
    return owner.session_id, owner.generation


def _place(owner: SessionOwner) -> tuple[str, str]:
    return owner.config.server_name, owner.key or ""
