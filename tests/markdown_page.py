"""The fenced blocks and links of Markdown files, and what pasting the commands into a terminal prints."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_FENCE = re.compile(r"^(?P<margin> *)```(?P<kind>[^\n`]*)\n(?P<text>.*?)^(?P=margin)```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_SECTION = re.compile(r"^## +(.*)$", re.MULTILINE)
_MARK = "\x1e"


class Block(NamedTuple):
    """A fenced block: what stands behind the backticks, what is between the fences."""

    kind: str
    text: str


class Example(NamedTuple):
    """A block of commands, and the block of JSON or text that follows it at once ("" where none does)."""

    commands: str
    shown: str


def blocks(text: str) -> list[Block]:
    return [
        Block(found["kind"].strip(), re.sub(rf"(?m)^{found['margin']}", "", found["text"]))
        for found in _FENCE.finditer(text)
    ]


def placed(text: str) -> list[tuple[str, Block]]:
    """The blocks of a text, each with the ``##`` heading that it stands under ("" before the first)."""
    found, heading, end = [], "", 0
    for block, fence in zip(blocks(text), _FENCE.finditer(text), strict=True):
        heading = [heading, *_SECTION.findall(text[end : fence.start()])][-1]
        found.append((heading, block))
        end = fence.end()
    return found


def examples(text: str) -> list[Example]:
    """The ``sh`` blocks of a text."""
    return with_output(blocks(text))


def with_output(found: Sequence[Block]) -> list[Example]:
    """The ``sh`` blocks of these."""
    pairs = zip(found, [*found[1:], Block("", "")], strict=True)
    return [
        Example(block.text, after.text if after.kind in ("json", "text") else "")
        for block, after in pairs
        if block.kind == "sh"
    ]


def links(text: str) -> list[str]:
    """The targets of links and pictures outside code."""
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text)))


def anchors(text: str) -> set[str]:
    """What ``#…`` can lead to in a file."""
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(_FENCE.sub("", text)))
    return {heading.strip().replace(" ", "-") for heading in headings}


def paste(commands: list[str], folder: Path) -> list[str]:
    """What each block prints, when all of them are run one after another in one shell.

    :raises AssertionError: with the errors, when a command fails.
    """
    script = "".join(f"{block}\nprintf '\\x1e'\n" for block in commands)
    shell = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(shell, cwd=folder, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{done.returncode} after {done.stdout[-2000:]}\n{done.stderr}"
    return done.stdout.split(_MARK)[:-1]


def documents(text: str) -> list[Any]:
    """The JSON documents that stand one after another in a text."""
    found, text = [], text.strip()
    while text:
        document, end = json.JSONDecoder().raw_decode(text)
        found.append(document)
        text = text[end:].lstrip()
    return found


def shape(value: Any) -> Any:
    """A document with each value's type in its place; what does not change from run to run keeps its value."""
    if isinstance(value, dict):
        kept = ("result_code", "status", "state", "exists", "names")
        return {key: member if key in kept else shape(member) for key, member in value.items()}
    if isinstance(value, list):
        return [shape(member) for member in value]
    return type(value).__name__
