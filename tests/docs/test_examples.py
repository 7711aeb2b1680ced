"""What README.md and docs/*.md tell a reader to type does what they say, and what they lead to is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_page import Example, anchors, blocks, documents, examples, links, paste, shape
from processes import ROOT, Gateway, find_free_port, running

from ngpu.settings import loads

README = ROOT / "README.md"
API = ROOT / "docs/api.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
CONFIGURATION = "yaml ngpu.yaml"
"""What stands behind the backticks of a block that is a whole configuration."""


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Gateway]:
    """What `make run` starts, on other ports; what it keeps is in a folder of the test."""
    with running(tmp_path) as processes:
        worker = processes.start_worker()
        text = (ROOT / "config/demo.yaml").read_text()
        public, admin = find_free_port(), find_free_port()
        for known, used in (
            ("tcp:8080:", f"tcp:{public}:"),
            ("tcp:8081:", f"tcp:{admin}:"),
            ("{8080: 18080}", f"{{8080: {worker.port}}}"),
            ("../var/", f"{tmp_path}/var/"),
        ):
            assert known in text
            text = text.replace(known, used)
        yield processes.start_gateway(text)


def in_the_readme() -> list[Example]:
    """The commands of the first ten minutes, without those that stand for `demo`."""
    section = README.read_text().partition("\n## The first ten minutes\n")[2].partition("\n## ")[0]
    return [example for example in examples(section) if "make run" not in example.commands]


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_what_the_reader_pastes_works_and_prints_what_is_shown(demo: Gateway, tmp_path: Path, page: str) -> None:
    told = in_the_readme() if page == "README.md" else examples(API.read_text())
    assert len(told) > 5
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / "var").symlink_to(tmp_path / "var")
    worker = re.findall(r"\{8080: (\d+)\}", demo.config_file.read_text())[0]
    printed = paste([_here(example.commands, demo, worker) for example in told], folder)
    for example, output in zip(told, printed, strict=True):
        if example.shown:
            assert shape(documents(output)) == shape(documents(example.shown)), example.commands


def _here(commands: str, demo: Gateway, worker: str) -> str:
    """The commands for the ports of a test."""
    for known, root in (("localhost:8080", demo.url), ("localhost:8081", demo.admin)):
        commands = commands.replace(known, root.removeprefix("http://").replace("127.0.0.1", "localhost"))
    return commands.replace("18080", worker)


def test_the_configurations_that_the_pages_show_can_be_used(tmp_path: Path) -> None:
    for page in PAGES:
        for block in blocks(page.read_text()):
            if block.kind == CONFIGURATION:
                loads(block.text, str(page), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page.read_text()):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name} leads to {link}, which is not there"
            assert not anchor or anchor in anchors(target.read_text()), f"{page.name} leads to {link}: no such heading"
