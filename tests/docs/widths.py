"""What a window is too narrow for, as a browser lays a page of the site out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from html import unescape
from pathlib import Path

from playwright.async_api import Browser

LAPTOP, PHONE = 1280, 390

_CUT_OFF = """() => {
    const article = document.querySelector('.md-content__inner');
    // The ground of code in a line of text may stand out a little; on a phone, blocks are as wide as the window.
    const little = 4;
    const edge = innerWidth < 700 ? innerWidth : article.getBoundingClientRect().right + little;
    const found = [];
    if (document.documentElement.scrollWidth > innerWidth) found.push('the page scrolls sideways');
    for (const one of article.querySelectorAll('pre, code, table, th, td, img, svg, p, li, h1, h2, h3, h4, dt, dd')) {
        const style = getComputedStyle(one), box = one.getBoundingClientRect();
        // The head of a table that is shown as a list is there for readers of screens only.
        if (box.width < 2 || one.closest('thead')?.offsetWidth === 1) continue;
        const hidden = style.display !== 'inline' && one.scrollWidth > one.clientWidth + little;
        if (!hidden && box.right <= edge) continue;
        found.push(`${one.tagName} is cut off: ${one.innerText?.slice(0, 60) ?? one.src}`);
    }
    return found;
}"""

_FOLDED = """() => [...document.querySelectorAll('.highlight code > span')]
    .filter(line => line.offsetHeight > 1.5 * parseFloat(getComputedStyle(line).lineHeight))
    .map(line => `folded: ${line.innerText.trim()}`)
"""


def _texts(tag: str, page: str) -> list[str]:
    found = re.findall(rf"(?s)<{tag}\b[^>]*>(.*?)</{tag}>", page)
    return [unescape(re.sub(r"<[^>]+>", "", text)) for text in found]


def _longest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)


def _longest_word(page: str, *tags: str) -> int:
    return _longest(word for tag in tags for text in _texts(tag, page) for word in text.split())


_WIDTHS: list[Callable[[str], int]] = [
    lambda page: _longest(line for text in _texts("pre", page) for line in text.splitlines()),
    lambda page: _longest_word(re.sub(r"(?s)<pre\b.*?</pre>", "", page), "code"),
    lambda page: _longest_word(page, "h1", "h2", "h3", "dt"),
    lambda page: _longest_word(page, "td"),
    lambda page: max((row.count("<th") for row in re.findall(r"(?s)<tr\b.*?</tr>", page)), default=0),
    lambda page: page.count("<img"),
]
"""What may be wide in a page: a line of code, code in a sentence, a heading, a cell, a table, pictures."""


def widest(pages: Iterable[Path]) -> list[Path]:
    """For each of the things that may be wide the page that has the most of it."""
    read = {page: page.read_text().partition("md-content__inner")[2] for page in sorted(pages)}
    return sorted({max(read, key=lambda page: width(read[page])) for width in _WIDTHS})


async def cut_off(browser: Browser, pages: Iterable[Path], *, is_folded_code_wrong: bool) -> dict[str, list[str]]:
    """What of pages cannot be seen on a laptop or a phone without scrolling sideways.

    Args:
        browser: The browser.
        pages: The pages, as files.
        is_folded_code_wrong: Whether a line of code that a laptop has no room for counts as well.
    """
    found: dict[str, list[str]] = {}
    context = await browser.new_context()
    tab = await context.new_page()
    widths = [LAPTOP, PHONE]
    for page in pages:
        await tab.set_viewport_size({"width": widths[0], "height": 800})
        await tab.goto(page.as_uri(), wait_until="domcontentloaded")
        for width in widths:
            await tab.set_viewport_size({"width": width, "height": 800})
            wrong = await tab.evaluate(_CUT_OFF)
            if is_folded_code_wrong and width == LAPTOP:
                wrong += await tab.evaluate(_FOLDED)
            if wrong:
                found[f"{page.name} at {width} pixels"] = wrong
        widths.reverse()  # the next page is laid out first for the width that the window has
    await context.close()
    return found
