"""`llms.txt`: what there is to read, for programs that read it. Written from the navigation.

Source: https://llmstxt.org
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure import StructureItem
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

_MAX_CHARS = 150


def described(markdown: str) -> str:
    """The first sentences of a page, as plain text."""
    blocks = re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL).split("\n\n")
    prose = (block.strip() for block in blocks)
    first = next((block for block in prose if block and not block.startswith(("#", "|", "-", "!", ":::", "<"))), "")
    plain = re.sub(r"\[([^]]+)\][(\[][^])]*[)\]]", r"\1", " ".join(first.split())).replace("**", "").replace("`", "")
    sentences = re.split(r"(?<=\.)\s", plain)
    shown = sentences[0]
    for sentence in sentences[1:]:
        if len(shown) + len(sentence) < _MAX_CHARS:
            shown += f" {sentence}"
        else:
            break
    shown = shown.rstrip(":.")
    return shown if len(shown) <= _MAX_CHARS else shown[: _MAX_CHARS - 3].rsplit(" ", 1)[0] + "..."


def llms_txt(config: MkDocsConfig, nav: Navigation) -> str:
    """The text: a heading for each section, and below it a link for each page."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for item in nav.items:
        if isinstance(item, Section):
            lines += [f"## {item.title}", "", *(_line(page) for page in _pages(item)), ""]
    return "\n".join(lines)


def _pages(item: StructureItem) -> Iterator[Page]:
    if isinstance(item, Page):
        yield item
    for child in item.children or ():
        yield from _pages(child)


def _line(page: Page) -> str:
    # What mkdocstrings fills has no Markdown worth reading.
    uri = page.file.dest_uri if page.file.src_uri.startswith("reference/python/") else page.file.src_uri
    about = page.meta.get("description")
    return f"- [{page.title}]({uri})" + (f": {about}" if about else "")
