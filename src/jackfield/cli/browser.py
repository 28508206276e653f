"""The person's web browser."""

from __future__ import annotations

import os
import sys


def has_browser() -> bool:
    """Whether there is one to open here; over SSH and in containers there is none, or one without a window."""
    if os.environ.get("BROWSER") or sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_browser(url: str) -> bool:
    """Open an address in it; returns whether that worked."""
    import webbrowser

    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
