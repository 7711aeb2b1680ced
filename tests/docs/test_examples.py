"""What README.md and docs/*.md tell a reader to type does what they say, and what they lead to is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_gateway import demo_on_other_ports
from markdown_page import Block, anchors, documents, links, paste, shape, with_output
from page_blocks import told
from processes import ROOT, Gateway

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Gateway]:
    """What `make run` starts, on other ports; what it keeps is in a folder of the test."""
    with demo_on_other_ports(tmp_path) as gateway:
        yield gateway


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_what_the_reader_pastes_works_and_prints_what_is_shown(demo: Gateway, tmp_path: Path, page: str) -> None:
    shown = with_output([Block(each.kind, each.text) for each in told("pasted") if each.page == page])
    assert len(shown) > 5
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / "var").symlink_to(tmp_path / "var")
    worker = re.findall(r"\{8080: (\d+)\}", demo.config_file.read_text())[0]
    printed = paste([_here(example.commands, demo, worker) for example in shown], folder)
    for example, output in zip(shown, printed, strict=True):
        if example.shown.startswith("retry: "):
            assert events(output) == events(example.shown), example.commands
        elif example.shown:
            assert shape(documents(output)) == shape(documents(example.shown)), example.commands


def events(text: str) -> list[str]:
    """Server-sent events, without what changes from run to run."""
    return [line.partition('"taskID"')[0] for line in text.strip().splitlines()]


def _here(commands: str, demo: Gateway, worker: str) -> str:
    """The commands for the ports of a test."""
    for known, root in (("localhost:8080", demo.url), ("localhost:8081", demo.admin)):
        commands = commands.replace(known, root.removeprefix("http://").replace("127.0.0.1", "localhost"))
    return commands.replace("18080", worker)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page.read_text()):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name} leads to {link}, which is not there"
            assert not anchor or anchor in anchors(target.read_text()), f"{page.name} leads to {link}: no such heading"
