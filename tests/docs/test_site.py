"""The site that `make docs` makes: no warning, every link leads somewhere, and nothing comes from another host."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from processes import ROOT

LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src", "object": "data"}


class Page(HTMLParser):
    """What a page loads by itself, where its links lead, and what links can lead to in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors = {""}
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in fields:
            self.links.append(fields["href"])
        elif tag == "link":
            (self.links if fields.get("rel") in ("next", "prev", "search") else self.loads).append(fields["href"])
        elif tag in LOADED and LOADED[tag] in fields:
            self.loads.append(fields[LOADED[tag]])
        self.loads += re.findall(r"url\(([^)]+)\)", fields.get("style", ""))
        self.anchors.add(fields.get("id", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, made by the command of the Makefile."""
    (recipe,) = re.findall(r"^\t@\$\(BIN\)/python (-m sphinx .*) build/docs$", (ROOT / "Makefile").read_text(), re.M)
    assert "--fail-on-warning" in recipe
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, *shlex.split(recipe), str(made / "html"), "--doctree-dir", str(made / "trees")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return made / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in sorted(site.rglob("*.html"))}


def test_every_page_is_there_and_can_be_found(site: Path, pages: dict[Path, Page]) -> None:
    sources = sorted((ROOT / "docs").rglob("*.md"))
    written = [file.relative_to(ROOT / "docs") for file in sources if "examples" not in file.parts]
    assert len(written) > 10
    navigated = {(site / link.partition("#")[0]).resolve() for link in pages[site / "search.html"].links}
    for name in written:
        file = site / name.with_suffix(".html")
        assert file in pages
        assert file in navigated, f"no way leads to {name}"


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    loads = [(file, url) for file, page in pages.items() for url in page.loads]
    for style in site.rglob("*.css"):
        named = re.findall(r"(?:url\(|@import\s+)['\"]?([^'\");]+)", style.read_text())
        loads += [(style, url) for url in named]
    assert len(loads) > 50
    for file, url in loads:
        parts = urlsplit(url)
        if not url or parts.scheme == "data":
            continue
        assert not parts.scheme and not parts.netloc, f"{file.name} loads {url}"
        assert (file.parent / unquote(parts.path)).is_file(), f"{file.name} loads {url}, which is not there"


def test_links_lead_somewhere_in_the_site(pages: dict[Path, Page]) -> None:
    followed = 0
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or link == "#":
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.is_file(), f"{file.name} leads to {link}, which is not there"
            if target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, f"{file.name} leads to {link}: no such place"
            followed += 1
    assert followed > 300


def test_the_search_needs_no_server_and_there_is_light_and_dark(site: Path) -> None:
    index = (site / "searchindex.js").read_text()
    assert index.startswith("Search.setIndex(") and "webhook" in index
    style = "".join(file.read_text() for file in site.rglob("*.css"))
    assert "prefers-color-scheme:dark" in style.replace(" ", "")
