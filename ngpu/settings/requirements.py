"""``selection.require``: whether there is a node that has what a workspace asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ngpu.model import Gpus, Node, Requirement, node_key
from ngpu.settings import units
from ngpu.settings.document import Document
from ngpu.settings.report import Path, Problem, quoted


def check_requirements(document: Document) -> Iterator[Problem]:
    """Every requirement that no node meets, so that no replica of the workspace would ever be chosen.

    Of a workspace with ``upstream`` only the nodes there count. What is wrong in other ways is told of elsewhere.
    """
    nodes = {node_key(_text(each.get("address"))): each for _, each in document.blocks("nodes")}
    for path, workspace in document.blocks("workspaces"):
        selection = workspace.get("selection")
        require = selection.get("require") if isinstance(selection, dict) else None
        if not isinstance(require, dict):
            continue
        listed = [at.get("node") for _, at in document.blocks(*path, "upstream")]
        keys = [node_key(each) for each in listed if isinstance(each, str)]
        if any(key not in nodes for key in keys):
            continue
        known = [nodes[key] for key in dict.fromkeys(keys)] if keys else list(nodes.values())
        where = "of this workspace's upstream" if keys else "under nodes:"
        if known:
            yield from _unmet(document, (*path, "selection", "require"), require, known, where)


def _unmet(
    document: Document, path: Path, require: Mapping[str, Any], known: Sequence[Mapping[str, Any]], where: str
) -> Iterator[Problem]:
    """First what no node has by itself, with what there is; else that no node has all of it."""
    gpus, labels = _mapping(require.get("gpus")), _mapping(require.get("labels"))
    nodes = [_node(each) for each in known]
    kind, memory = _text(gpus.get("type")), _bytes(gpus.get("memory"))
    parts: list[tuple[Path, Requirement, str, Sequence[str]]] = []
    if kind:
        types = tuple(dict.fromkeys(each.gpus.type for each in nodes if each.gpus.type))
        parts.append(((*path, "gpus", "type"), Requirement(gpu=kind), kind, types))
    if memory:
        parts.append(((*path, "gpus", "memory"), Requirement(memory=memory), "", ()))
    for name, value in labels.items():
        if isinstance(name, str) and isinstance(value, str):
            values = tuple(dict.fromkeys(each.labels[name] for each in nodes if name in each.labels))
            parts.append(((*path, "labels", name), Requirement(labels={name: value}), value, values))
    found = False
    for at, part, word, names in parts:
        if not any(part.met_by(each) for each in nodes):
            found = True
            what = f"no node {where} has {quoted(word)} here" if word else f"no node {where} has so much"
            yield Problem(document.spot(at).value, at, what, word, names)
    whole = [part for _, part, _, _ in parts]
    if not found and not any(all(part.met_by(each) for part in whole) for each in nodes):
        yield Problem(document.spot(path).first, path, f"no node {where} has all of this")


def _node(values: Mapping[str, Any]) -> Node:
    gpus = _mapping(values.get("gpus"))
    labels = {name: value for name, value in _mapping(values.get("labels")).items() if isinstance(value, str)}
    return Node("", "", Gpus(_text(gpus.get("type")), 0, _bytes(gpus.get("memory"))), labels)


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


def _bytes(value: Any) -> int:
    try:
        return units.size(value)
    except units.UnitError:
        return 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
