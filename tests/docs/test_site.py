"""The site builds without a warning and without the network, and no link in it leads nowhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from mkdocs.config import load_config
from playwright.async_api import Browser
from scripts.docs import hook
from scripts.docs.api import public_modules
from scripts.docs.reference import reference_pages
from tests.daily import daily
from tests.docs.blocks import DOCS, FENCE, PAGES, ROOT
from tests.docs.widths import cut_off, widest
from tests.forked import unmeasured
from tests.gateway.page.conftest import chromium

import jackfield

__all__ = ["chromium"]

# The first test that needs the site has it built, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(300)

NOWHERE = "http://127.0.0.1:9"


class Reader(HTMLParser):
    """What a page names, and what it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        """What a browser fetches by itself."""
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.classes |= set(given.get("class", "").split())
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and "href" in given:
            self.loads.append(given["href"])
        elif "src" in given:
            self.loads.append(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; whoever asked the network would not get far."""
    folder = tmp_path_factory.mktemp("site")
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), NOWHERE)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**unmeasured(), **proxies, "NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Reader]:
    """All pages of the site, read. That for errors 404 is served at any address, and links from the root."""
    read: dict[Path, Reader] = {}
    for path in site.rglob("*.html"):
        if path.name != "404.html":
            reader = read[path] = Reader()
            reader.feed(path.read_text())
    return read


def test_every_link_and_anchor_leads_somewhere(site: Path, pages: dict[Path, Reader]) -> None:
    wrong: dict[str, list[str]] = defaultdict(list)
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "data", "mailto"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            known = pages[target].ids if target in pages else set[str]()
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in known):
                wrong[str(path.relative_to(site))].append(link)
    assert dict(wrong) == {}


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, Reader]) -> None:
    for page in pages.values():
        assert [link for link in page.loads if urlsplit(link).netloc] == []
        assert "mermaid" not in page.classes  # which Material would draw with a script from elsewhere
    for path in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        assert re.findall(r"(?:url\([\"']?|@import +[\"'])(?:https?:)?//[^)]*", path.read_text()) == []


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_is_cut_off_on_a_laptop_or_a_phone(site: Path, chromium: Browser) -> None:
    """Every day the pages with the widest code, words, headings and tables and the most pictures, and one of a kind."""
    some = [site / name for name in ("index.html", "reference/settings.html", "reference/command/call.html")]
    written = [site / path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")]
    copies = [path for path in site.rglob("*.html") if "repository" in path.parts]
    every = [path for path in site.rglob("*.html") if path not in copies and path.name != "404.html"]
    assert {*some, *written} <= set(every)
    assert await cut_off(chromium, daily([*widest(every), *some], whole=every), is_folded_code_wrong=True) == {}
    assert await cut_off(chromium, daily([], whole=copies), is_folded_code_wrong=False) == {}


def test_no_list_of_the_navigation_is_long() -> None:
    def lists(entries: list[Any]) -> Iterator[list[Any]]:
        yield entries
        for entry in entries:
            for below in entry.values() if isinstance(entry, dict) else ():
                yield from lists(below) if isinstance(below, list) else ()

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert [entries for entries in lists(nav) if len(entries) > 10] == []


def test_the_site_names_the_version_and_links_to_the_repository_once_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    address = "https://example.org/jackfield"
    (tmp_path / "pyproject.toml").write_text(f'{project}\n[project.urls]\nRepository = "{address}"\n')
    config = load_config(str(ROOT / "mkdocs.yml"), plugins=[], hooks=[])
    monkeypatch.setattr(hook, "ROOT", tmp_path)
    hook.on_config(config)
    assert (config.site_name, config.repo_url) == (f"Jackfield {jackfield.__version__}", address)


def test_every_public_name_is_in_the_reference_once(pages: dict[Path, Reader]) -> None:
    ids = [name for path, page in pages.items() if "reference" in path.parts for name in page.ids]
    names = [f"jackfield.{name}" for name in jackfield.__all__]
    assert [name for name in names if ids.count(name) != 1] == []
    for module in public_modules():
        assert any(name.startswith(f"jackfield.{module}.") for name in ids)


def test_llms_txt_leads_to_every_page(site: Path) -> None:
    text = (site / "llms.txt").read_text()
    assert text.startswith(f"# Jackfield {jackfield.__version__}\n\n> ")
    links = re.findall(r"^- \[[^]]+\]\(([^)]+)\): \S", text, re.MULTILINE)
    assert len(links) == text.count("\n- ")
    assert [link for link in links if not (site / link).is_file()] == []
    written = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} - {"index.md"}
    assert written <= set(links)
    assert len(text) < 16_000


def _links(page: Path) -> Iterator[str]:
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))
    return (match for match in re.findall(r"\]\(([^)\s]+)\)", prose) if not urlsplit(match).scheme)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_in_the_sources_lead_somewhere(page: Path) -> None:
    """As they are read in the repository, where generated pages are not."""
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target.is_relative_to(DOCS) and str(target.relative_to(DOCS)) in reference_pages():
            continue
        assert target.exists(), link
        if anchor and target.suffix == ".py":
            assert f"def {anchor}(" in target.read_text(), link
        elif anchor:
            headings = re.findall(r"^#+ (.*)$", FENCE.sub("", target.read_text()), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            assert anchor in slugs, link
