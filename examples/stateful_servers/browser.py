"""Playwright's MCP server with the machine's own Chromium, and a page for it on loopback."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from jackfield import StdioConfig

ROOT = Path(__file__).parents[2]
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
INSTALL_BROWSER = "apt-get install chromium (as root; `make third-party` does it)"

TITLE = "Shop"
PAGE = f"""<!doctype html>
<html lang="en"><title>{TITLE}</title><link rel="icon" href="data:,">
<h1>{TITLE}</h1>
<button onclick="document.querySelector('p').textContent = ++count + ' in the basket'">Add to basket</button>
<p>The basket is empty</p>
<script>let count = 0</script></html>
"""

# Chromium asks its maker's hosts for this and that at every start; nothing here needs a network.
ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


def _program() -> str | None:
    local = ROOT / ".third_party" / "npm" / "node_modules" / ".bin" / "playwright-mcp"
    return str(local) if local.exists() else shutil.which("playwright-mcp")


def _browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def missing() -> str | None:
    """Why there can be no browser here, and what to do; `None` if there can."""
    if _program() is None:
        return "Playwright's MCP server is not installed: make third-party (or: npm install -g @playwright/mcp)"
    if _browser() is None:
        return f"Chromium is not installed: {INSTALL_BROWSER}"
    return None


@contextmanager
def browser_server(**environment: str) -> Iterator[StdioConfig]:
    """The server's configuration; it and its browser write into a temporary folder, which goes with the block."""
    # Not deep: Chromium makes a socket in it, and does not start where TMPDIR has more than 62 characters.
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        settings = {
            "browser": {
                "browserName": "chromium",
                "isolated": True,
                "launchOptions": {
                    "executablePath": _browser(),
                    "headless": True,
                    # Root has none, and the only page it sees is our own.
                    "chromiumSandbox": False,
                    "args": ARGUMENTS,
                },
            },
            "outputDir": f"{folder}/output",
        }
        file = Path(folder, "playwright.json")
        file.write_text(json.dumps(settings))
        # A `node` that came with the Python environment is not on everybody's PATH.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        variables = {"PATH": path, "HOME": folder, "TMPDIR": folder, **environment}
        command = _program() or "playwright-mcp"
        yield StdioConfig(server_name="browser", command=command, args=["--config", str(file)], environment=variables)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_: object) -> None:
        """Nothing: the screen is the example's."""


@contextmanager
def page() -> Iterator[str]:
    """Serve the page as long as the block lasts; gives its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
