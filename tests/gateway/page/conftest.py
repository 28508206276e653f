"""The gateway's page in a real browser, headless, of this machine."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from tests.cli.conftest import Command
from tests.conftest import eventually, needs

BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    # One process for all pages, which are all our own.
    "--renderer-process-limit=1",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """A browser, for all tests of a module."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    needs(None if found else "Chromium is not installed: scripts/services.sh installs it")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, chromium_sandbox=False, args=ARGUMENTS)
        yield browser
        await browser.close()


class PageServing:
    """`jackfield serve --http --web`, running; what it writes to the terminal is read as it comes."""

    def __init__(self, command: Command, *options: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command.line("serve", "--http", "127.0.0.1:0", "--web", *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**command.environment, **(env or {})},
            cwd=command.project,
        )
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()
        self.page = self.url.removesuffix("mcp")
        self.written: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.written.append(line)

    @property
    def links(self) -> list[str]:
        """The links to its page that it has printed."""
        return re.findall(r"page: (\S+)", "".join(self.written))

    def link(self) -> str:
        """The last of them, once there is one."""
        assert eventually(lambda: bool(self.links), 20), self.written
        return self.links[-1]

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command, for all tests of a module."""
    return Command(tmp_path_factory.mktemp("page"))


class Opened:
    """A tab, with what went wrong in it."""

    def __init__(self, context: BrowserContext, tab: Page) -> None:
        self.context = context
        self.tab = tab
        self.problems: list[str] = []
        tab.on("console", lambda said: self.problems.append(said.text) if said.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: self.problems.append(str(error)))
        tab.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))

    async def look(self, width: int, *, dark: bool) -> None:
        """Be so wide, for a person who prefers dark pages or light ones."""
        await self.tab.set_viewport_size({"width": width, "height": 800})
        await self.tab.emulate_media(color_scheme="dark" if dark else "light")

    async def show(self, *parts: str) -> None:
        """Go to a view, as its link does."""
        await self.tab.evaluate("parts => { location.hash = '#/' + parts.map(encodeURIComponent).join('/'); }", parts)

    async def overflow(self) -> list[str]:
        """What makes the page wider than the window."""
        return await self.tab.evaluate(
            "() => document.documentElement.scrollWidth <= innerWidth ? [] : "
            "[...document.querySelectorAll('main *')].filter(one => one.getBoundingClientRect().right > innerWidth)"
            ".map(one => `${one.tagName}.${one.className}`)"
        )

    async def text(self, selector: str = "main") -> str:
        return await self.tab.inner_text(selector)


@asynccontextmanager
async def opened(browser: Browser, address: str, *, problems: Sequence[str] = ()) -> AsyncIterator[Opened]:
    """A tab of its own at an address.

    Args:
        browser: The browser.
        address: Of the page.
        problems: What the browser says that is as it should be.
    """
    # Without transitions a colour is read as it ends up, not on its way there.
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    tab = Opened(context, await context.new_page())
    await tab.tab.goto(address)
    try:
        yield tab
        unexpected = [one for one in tab.problems if not any(known in one for known in problems)]
        assert not unexpected, unexpected
    finally:
        await context.close()
