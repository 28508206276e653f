"""What MkDocs cannot do by itself: generated pages, files of the repository that pages link to, llms.txt.

Pages of the reference are made here at every build, so that none of them can be out of date.
"""

from __future__ import annotations

import posixpath
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from scripts.docs.columns import with_columns  # noqa: E402
from scripts.docs.llms import described, llms_txt  # noqa: E402
from scripts.docs.reference import reference_pages  # noqa: E402
from scripts.docs.repository import shown  # noqa: E402

LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")
PICTURE = re.compile(r'(<img [^>]*src="([^"]+)"[^>]*>)')
_REPOSITORY = "repository/"
"""Where the site has files of the repository that do not stand in `docs/`."""

_nav: Navigation | None = None


def on_config(config: MkDocsConfig) -> None:
    """Name the version, and give the reference its pages, and the guide those that nobody has given a place."""
    assert config.nav is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    config.site_name = f"{config.site_name} {project['version']}"
    if repository := project.get("urls", {}).get("Repository"):
        config.repo_url, config.repo_name = repository, "Source code"
    pages = list(reference_pages())

    def below(folder: str) -> list[str]:
        return [page for page in pages if posixpath.dirname(page) == f"reference/{folder}".rstrip("/")]

    command = [{"Command": below("command")}] if below("command") else []
    for entry in config.nav:
        if isinstance(entry, dict) and "Reference" in entry:
            entry["Reference"] = [*below(""), *command, {"Python": below("python")}]
        if isinstance(entry, dict) and "Guide" in entry:
            there = sorted(path.name for path in Path(config.docs_dir).glob("*.md"))
            placed = [*_named(config.nav)]
            entry["Guide"] += [page for page in there if page not in placed]


def _named(entries: list[Any]) -> Iterator[str]:
    """The pages of a part of the navigation, with those of its sections."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from [below] if isinstance(below, str) else _named(below)


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the generated pages, and what pages link to outside of `docs/`."""
    for name, text in reference_pages().items():
        files.append(File.generated(config, name, content=text))
    waiting = list(files.documentation_pages())
    while waiting:
        file = waiting.pop()
        for link in LINK.findall(file.content_string):
            target = _target(file.src_uri, link)
            if target.startswith("docs/") or not (ROOT / target).exists() or files.get_file_from_path(_page(target)):
                continue
            text = shown(ROOT / target)
            copy = File.generated(config, _page(target), content=text, inclusion=InclusionLevel.NOT_IN_NAV)
            files.append(copy)
            waiting.append(copy)


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> None:
    """Keep it for `llms.txt`."""
    global _nav
    _nav = nav


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that leave `docs/` lead to the copies in the site."""
    here = page.file.src_uri

    def inside(match: re.Match[str]) -> str:
        name = _page(_target(here, match[0]))
        return posixpath.relpath(name, posixpath.dirname(here) or ".") if files.get_file_from_path(name) else match[0]

    page.meta.setdefault("description", described(markdown))
    return LINK.sub(inside, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let tables be read on a phone, and let pictures be seen as large as they are."""
    return PICTURE.sub(r'<a class="picture" href="\2">\1</a>', with_columns(html))


def on_post_build(config: MkDocsConfig) -> None:
    """Write `llms.txt`, and beside each page its Markdown, which it links to."""
    assert _nav is not None
    site = Path(config.site_dir)
    for page in _nav.pages:
        if page.markdown and not page.file.src_uri.startswith("reference/python/"):
            (site / page.file.src_uri).write_text(page.markdown, encoding="utf-8")
    (site / "llms.txt").write_text(llms_txt(config, _nav), encoding="utf-8")


def _target(page: str, link: str) -> str:
    """What a page of the site links to, as a path in the repository."""
    folder = posixpath.dirname(page)
    copied = f"{folder}/".startswith(_REPOSITORY)
    return posixpath.normpath(posixpath.join(folder.removeprefix(_REPOSITORY) if copied else f"docs/{folder}", link))


def _page(target: str) -> str:
    """The page of the site for a file of the repository."""
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return f"{_REPOSITORY}{target}" + ("" if target.endswith(".md") else ".md")
