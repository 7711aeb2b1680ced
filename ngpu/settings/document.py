"""YAML text → plain values, and where each of them stands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ngpu.settings.composer import MAX_DEPTH, MAX_NODES, Composer, Unreadable
from ngpu.settings.node import ListNode, MapNode, Node, ScalarNode
from ngpu.settings.report import Path, Problem
from ngpu.settings.secrecy import is_secret_key
from ngpu.settings.source import Place, Spans


class Spot(NamedTuple):
    """Where a value stands: its key (``None`` for items of lists), itself, and how it is written."""

    key: Place | None
    value: Place
    text: str | None

    @property
    def first(self) -> Place:
        """Where it begins, with its key."""
        return self.key or self.value


@dataclass(frozen=True)
class Document:
    """A configuration as plain values (dict, list, str, int, float, bool, None, or BROKEN).

    ``problems`` are those that did not keep it from being read; ``secrets`` says what of the text is never shown.
    """

    values: Any
    spots: Mapping[Path, Spot]
    problems: tuple[Problem, ...]
    secrets: Spans

    def get(self, *path: str | int) -> Any:
        """The value at ``path``, or ``None``."""
        value = self.values
        for part in path:
            if isinstance(value, list):
                value = dict(enumerate(value[part : part + 1], part)) if type(part) is int and part >= 0 else {}
            if not isinstance(value, dict) or part not in value:
                return None
            value = value[part]
        return value

    def spot(self, path: Path) -> Spot:
        """Where ``path`` stands, or the nearest of its ancestors that exists."""
        for length in range(len(path), -1, -1):
            found = self.spots.get(path[:length])
            if found is not None:
                return found
        return Spot(None, Place(1, 1), None)

    def blocks(self, *path: str | int) -> Iterator[tuple[Path, dict[Any, Any]]]:
        """The mappings in the list or mapping at ``path``, each with its own path."""
        value = self.get(*path)
        items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, each in items:
            if isinstance(each, dict):
                yield (*path, key), each


def document_of(values: Any, at: Path) -> Document:
    """A document that never was a text: plain values, as JSON has them. Its places mean nothing.

    :param at: the part of it in which something may be wrong.
    """
    document = Document(values, {}, (), {})
    spots: dict[Path, Spot] = {}
    pending: list[tuple[Path, Any]] = [(at, document.get(*at))]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict):
            pending += [((*path, key), each) for key, each in value.items()]
        elif isinstance(value, list):
            pending += [((*path, index), each) for index, each in enumerate(value)]
        text = None if isinstance(value, dict | list) else value if isinstance(value, str) else json.dumps(value)
        spots[path] = Spot(None, Place(1, 1), text)
    return replace(document, spots=spots)


def read_document(text: str) -> Document:
    """Read a YAML text.

    :raises Unreadable: it is no YAML, holds nothing, or breaks a limit.
    """
    composer = Composer(text)
    plain = _Plain()
    try:
        root = composer.compose()
        if root is None or (isinstance(root, ScalarNode) and root.value is None):
            raise Unreadable(Problem(None, (), "the file is empty; an example stands in config/ngpu.yaml"))
        values = plain.value_of(root, (), None, False)
        for node in composer.secrets:
            plain.hide(node)
    except Unreadable as unreadable:
        unreadable.found = tuple(composer.problems)
        raise
    return Document(values, plain.spots, tuple(composer.problems), plain.secrets)


class _Plain:
    """Turns nodes into values; aliased ones are copied, so that each copy has a path of its own."""

    def __init__(self) -> None:
        self.spots: dict[Path, Spot] = {}
        self.secrets: dict[int, list[tuple[int, int]]] = {}

    def value_of(self, node: Node, path: Path, key: Place | None, secret: bool) -> Any:
        self.spots[path] = Spot(key, node.start, node.text if isinstance(node, ScalarNode) else None)
        if len(self.spots) > MAX_NODES:
            raise Unreadable(Problem(node.start, path, f"more than {MAX_NODES} values, with what aliases repeat"))
        if len(path) > MAX_DEPTH:
            raise Unreadable(Problem(node.start, (), f"lists and mappings stand more than {MAX_DEPTH} deep here"))
        if isinstance(node, ListNode):
            return [self.value_of(each, (*path, index), None, secret) for index, each in enumerate(node.items)]
        if isinstance(node, MapNode):
            return {
                name.value: self.value_of(value, (*path, name.value), name.start, secret or is_secret_key(name.value))
                for name, value in node.pairs
            }
        if secret:
            self.hide(node)
        return node.value

    def hide(self, node: ScalarNode) -> None:
        """Never show this one's text."""
        for line in range(node.start.line, node.end.line + 1):
            start = node.start.column if line == node.start.line else 1
            end = node.end.column if line == node.end.line else 1 << 30
            self.secrets.setdefault(line, []).append((start, end))
