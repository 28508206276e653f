"""What a window is too narrow for, as a browser lays a page of the site out."""

from __future__ import annotations

from collections.abc import Iterable
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
