"""`News`: the generation of a session that a user knows of.

A session that is reopened after a loss is of a new generation, and the state that its server kept for the earlier ones
was lost. Each user of the session is informed once: users of a `Session`, of a kept session, of the shell, and who
open a named session that was lost while nobody had it.
"""

from __future__ import annotations

from collections import OrderedDict

from ..errors import JackfieldError

_MAX_UNREPORTED = 10_000


class News:
    """What one user knows of one session.

    Args:
        known: The generation whose state the user counts on.
    """

    def __init__(self, known: int = 1) -> None:
        self.known: int = known
        """The generation whose state the user counts on; a newer one is news."""

    def is_due(self, generation: int) -> bool:
        """Whether a session of this generation has lost state that the user counts on."""
        return generation > self.known

    def tell(self, generation: int) -> bool:
        """Report the lost state of earlier generations to the user; returns whether that was new."""
        is_news = self.is_due(generation)
        self.known = max(self.known, generation)
        return is_news

    def tell_by(self, error: JackfieldError) -> None:
        """The user gets an error, which may report lost state."""
        if error.state_lost and error.generation is not None:
            self.tell(error.generation + 1)

    def lose(self, generation: int) -> None:
        """State that the user counts on is not behind a session of this generation."""
        self.known = min(self.known, generation - 1)


class UnreportedLosses:
    """Closed named sessions whose next user must learn of lost state; the newest 10,000."""

    def __init__(self) -> None:
        self._generations: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()

    def keep(self, slot_key: tuple[str, str], generation: int, news: News) -> None:
        """Remember a session that is closed.

        Args:
            slot_key: Its server and key.
            generation: Its last one.
            news: What its users know.
        """
        self._generations[slot_key] = generation, news.known
        if len(self._generations) > _MAX_UNREPORTED:
            self._generations.popitem(last=False)

    def take(self, slot_key: tuple[str, str] | None) -> tuple[int, News]:
        """How often the session of a server and key was opened before, and what its next user knows of that."""
        generation, known = self._generations.pop(slot_key, (0, 1)) if slot_key else (0, 1)
        return generation, News(known)

    def take_over(self, other: UnreportedLosses) -> None:
        """Remember all that another one does."""
        self._generations.update(other._generations)
