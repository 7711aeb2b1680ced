"""What a YAML text is made of, with the place of each part, before it becomes plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ngpu.settings.source import Place


@dataclass(slots=True, eq=False)
class ScalarNode:
    """A value: ``text`` as it is written (without quotes), ``value`` as it is read."""

    start: Place
    end: Place
    text: str = ""
    value: Any = None
    merges: bool = False
    """Whether it is a plain ``<<``, which as a key means that other mappings are merged in."""


@dataclass(slots=True, eq=False)
class ListNode:
    """A list; ``open`` until its end was read."""

    start: Place
    items: list[Node] = field(default_factory=list)
    open: bool = True


@dataclass(slots=True, eq=False)
class MapNode:
    """A mapping; ``open`` until its end was read and its merges were carried out."""

    start: Place
    pairs: list[tuple[ScalarNode, Node]] = field(default_factory=list)
    open: bool = True


Node = ScalarNode | ListNode | MapNode
