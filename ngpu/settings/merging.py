"""The end of a mapping: duplicate keys are found and merge keys (``<<``) carried out."""

from __future__ import annotations

from collections.abc import Callable

from ngpu.settings.node import ListNode, MapNode, Node, ScalarNode
from ngpu.settings.report import Path, Problem
from ngpu.settings.scalar import BROKEN
from ngpu.settings.source import Place

Pairs = list[tuple[ScalarNode, Node]]
Spend = Callable[[int, Place], None]


def closed_pairs(node: MapNode, path: Path, problems: list[Problem], spend: Spend) -> Pairs:
    """The pairs of a mapping whose end was read: no key twice, the merged ones first, as YAML 1.1 orders them.

    :param problems: is added to.
    :param spend: told how many values were merged, so that merges of merges cannot grow without end.
    """
    own: dict[str | int, tuple[ScalarNode, Node]] = {}
    merges: dict[str, tuple[ScalarNode, Node]] = {}
    for key, value in node.pairs:
        if key.value is BROKEN:
            continue
        seen: dict[str | int, tuple[ScalarNode, Node]] | dict[str, tuple[ScalarNode, Node]]
        seen = merges if key.merges else own
        first = seen.get(key.value)
        if first is None:
            seen[key.value] = (key, value)
        else:
            problems.append(Problem(key.start, (*path, key.value), f"is here twice; line {first[0].start.line} has it"))
    if not merges:
        return list(own.values())
    merged: dict[str | int, tuple[ScalarNode, Node]] = {}
    for _, value in merges.values():
        for source in _sources(value, (*path, "<<"), problems):
            spend(len(source.pairs), value.start)
            for pair in source.pairs:
                merged.setdefault(pair[0].value, pair)
    return list((merged | own).values())


def _sources(value: Node, path: Path, problems: list[Problem]) -> list[MapNode]:
    found: list[MapNode] = []
    for each in value.items if isinstance(value, ListNode) else [value]:
        if isinstance(each, MapNode):
            found.append(each)
        elif not (isinstance(each, ScalarNode) and each.value is BROKEN):
            problems.append(Problem(each.start, path, "can merge mappings only, such as *name or [*one, *two]"))
    return found
