"""No block of the pages is left out: a test runs it, or a list says why none does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import click
import pytest
from markdown_page import blocks
from page_blocks import NOT_RUN, TEST, Place, Told, every_block, way_of
from processes import ROOT

from ngpu.cli import main

BLOCKS = every_block()
PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md")})


def test_each_block_has_its_test_or_a_reason() -> None:
    assert len(BLOCKS) > 100
    left = [
        f"{block.page}, {block.section!r}, {block.kind!r}: {block.text[:60]!r}" for block in BLOCKS if not way_of(block)
    ]
    assert not left, "name a test of these in tests/page_blocks.py:\n" + "\n".join(left)


def test_no_fence_is_overlooked() -> None:
    """Each fence that opens is one of the blocks."""
    for page in PAGES:
        opened = len(re.findall(r"^ *```", page.read_text(), re.MULTILINE))
        assert opened == 2 * len(blocks(page.read_text())), page


@pytest.mark.parametrize("way", TEST)
def test_who_is_named_asks_for_them(way: str) -> None:
    file, places = TEST[way]
    text = (ROOT / file).read_text()
    whole = all(Path(place.page).name in text for place in places)
    assert f'told("{way}")' in text or whole, f"{file} does not ask for {way!r}"
    for place in places:
        assert any(place.holds(block) and way_of(block) == way for block in BLOCKS), f"nothing stands at {place}"


def test_reasons_are_of_blocks_that_are_there() -> None:
    for _, place in NOT_RUN:
        assert any(place.holds(block) for block in BLOCKS), f"nothing stands at {place}"


def test_a_block_that_is_nobodys_is_found() -> None:
    assert way_of(Told("docs/api.md", "Nowhere", "ruby", "puts 1\n")) == ""
    assert not Place("docs/api.md", "A*").holds(Told("docs/api.md", "B", "", ""))


def commands() -> Iterator[tuple[str, str]]:
    """What the pages say of `ngpu …` and `make …` in the midst of a sentence, each with its page."""
    for page in PAGES:
        text = "".join(re.split(r"^ *```.*?^ *```$", page.read_text(), flags=re.MULTILINE | re.DOTALL))
        for span in re.findall(r"`((?:ngpu|make) [^`]+)`", text):
            yield page.name, " ".join(span.split())


def test_commands_in_sentences_are_there_with_their_options() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    seen = 0
    for page, span in commands():
        words = span.split()
        if words[0] == "make":
            assert words[1] in targets, f"{page}: {span}"
            continue
        command: click.Command = main
        context = click.Context(command, **main.context_settings)  # click keeps what it makes of them with a command
        for word in takewhile(lambda word: not word.startswith("-"), words[1:]):
            if isinstance(command, click.Group) and word.islower():
                found = command.get_command(context, word)
                assert found is not None, f"{page}: {span}: there is no {word}"
                command = found
        known = {name for each in command.get_params(context) for name in each.opts}
        wrong = [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known | {"-h"}]
        assert not wrong, f"{page}: {span}: there is no {wrong}"
        seen += 1
    assert seen > 20
