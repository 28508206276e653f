"""`Feed`: the sections of the page as they change, for all pages that are open. While none is, nothing is done."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import anyio

from ...errors import JackfieldError
from ...loops import Changed
from .background import BackgroundProcess
from .overview import Section

logger: logging.Logger = logging.getLogger("jackfield")

PERIOD_SECONDS = 0.5
"""How often the sections are looked at."""
BACKGROUND_SECONDS = 2.0
"""How often the background process is asked for its sessions."""
CHECK_SECONDS = 10.0
"""How often it is checked whether a page may still see this; a quiet stream gets a comment, too."""


class Feed:
    """Renews the sections, and streams what has changed.

    Args:
        sections: Gives all of them as they are now.
        background: Keeps sessions between commands, if anything does.
    """

    def __init__(self, sections: Callable[[], Mapping[str, Section]], background: BackgroundProcess | None) -> None:
        self._sections = sections
        self._background = background
        self._texts: dict[str, tuple[int, str]] = {}
        """Each section as JSON, with a number that is another one whenever it has changed."""
        self._number = 0
        self._pages = 0
        self._opened = Changed()
        self._changed = Changed()
        self._is_closed = False

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return self._pages

    async def run(self) -> None:
        """Renew the sections as long as a page is open; runs until it is cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._repeat, PERIOD_SECONDS, self._renew)
            if self._background is not None:
                tasks.start_soon(self._repeat, BACKGROUND_SECONDS, self._ask_background)

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        self._changed.set()

    async def stream(self, may_see: Callable[[], Awaitable[bool]]) -> AsyncGenerator[str]:
        """Events for one page: all sections first, then those that have changed.

        Args:
            may_see: Asked now and then whether the page may still see this; the stream ends if not.
        """
        seen: dict[str, int] = {}
        self._pages += 1
        self._opened.set()
        try:
            if self._pages == 1:
                self._renew_now()
            check_at = anyio.current_time() + CHECK_SECONDS
            while not self._is_closed:
                changed = {name: one for name, one in self._texts.items() if seen.get(name) != one[0]}
                seen.update((name, number) for name, (number, _) in changed.items())
                parts = ",".join(f"{json.dumps(name)}:{text}" for name, (_, text) in changed.items())
                yield f'data: {{"now":{time.time():.3f},"changed":{{{parts}}}}}\n\n'
                with anyio.CancelScope(deadline=check_at):
                    await self._changed.until(lambda: self._is_closed or self._is_newer(seen))
                if anyio.current_time() >= check_at:
                    check_at = anyio.current_time() + CHECK_SECONDS
                    if not await may_see():
                        return
        finally:
            self._pages -= 1

    def _is_newer(self, seen: Mapping[str, int]) -> bool:
        return any(seen.get(name) != number for name, (number, _) in self._texts.items())

    async def _repeat(self, seconds: float, renew: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._opened.until(lambda: self._pages > 0)
            await renew()
            await anyio.sleep(seconds)

    async def _renew(self) -> None:
        self._renew_now()

    def _renew_now(self) -> None:
        try:
            self._keep(self._sections())
        except Exception:
            # It must not end the gateway.
            logger.exception("[MCP][gateway] The page could not be updated")

    async def _ask_background(self) -> None:
        assert self._background is not None
        told: dict[str, Any] = {"process": None, "sessions": []}
        try:
            told.update(await self._background.sessions() or {})
        except JackfieldError as error:
            told["error"] = error.message
        self._keep({"background": told})

    def _keep(self, sections: Mapping[str, Section]) -> None:
        for name, section in sections.items():
            text = json.dumps(section, separators=(",", ":"))
            if name not in self._texts or self._texts[name][1] != text:
                self._number += 1
                self._texts[name] = self._number, text
                self._changed.set()
