"""The pages of the reference: generated, so that they say what the code says."""

from __future__ import annotations

from functools import cache

from scripts.docs.api import api_pages
from scripts.docs.command import command_pages
from scripts.docs.tables import errors_page, events_page, settings_page


@cache
def reference_pages() -> dict[str, str]:
    """Their Markdown by their names in the site."""
    pages = {"settings": settings_page(), "errors": errors_page(), "events": events_page()}
    pages |= {f"command/{name}": text for name, text in command_pages().items()}
    pages |= {f"python/{name}": text for name, text in api_pages().items()}
    return {f"reference/{name}.md": text for name, text in pages.items()}
