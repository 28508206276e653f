"""Owners for tests, which are closed after them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.relayed import chatty
from tests.session.watched import HANDSHAKE, Watched, scripted

from jackfield import ServerConfig
from jackfield.session.lifecycle import Cause

__all__ = ["Start", "chatty", "watch"]

Start = Callable[..., Watched]


@pytest.fixture
async def watch(tmp_path: Path, nothing_left: None) -> AsyncIterator[Start]:
    """Makes owners of scripted servers, and closes them after the test."""
    made: list[Watched] = []

    def make(says: dict[str, Any] | ServerConfig = HANDSHAKE, **more: Any) -> Watched:
        about = {name: more.pop(name) for name in ("callbacks", "key", "end_others") if name in more}
        config = scripted(tmp_path, says, **more) if isinstance(says, dict) else says
        made.append(Watched(config, **about))
        return made[-1]

    (tmp_path / "program").symlink_to(sys.executable)
    yield make
    for one in made:
        one.owner.request_close(Cause.MANAGER)
        if one.is_started:
            await one.closed()
