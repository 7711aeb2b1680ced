"""Checks between blocks: names that must exist, and things that must not be there twice.

They work on the plain values and skip what has not its shape, so that they find what they can beside other errors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ngpu.model import node_key
from ngpu.settings.document import Document
from ngpu.settings.report import Path, Problem, dotted, quoted


def check_references(document: Document) -> Iterator[Problem]:
    """Every problem that only shows between blocks."""
    yield from _duplicates(document, _texts(document, "workspaces", "id"), "workspace")
    nodes = [(path, node_key(text)) for path, text in _texts(document, "nodes", "address")]
    yield from _duplicates(document, nodes, "node")
    yield from _shared_credentials(document)
    known = {
        "gates": _names(document.get("gates")),
        "apps": _names(document.get("apps")),
        "nodes": tuple(text for _, text in _texts(document, "nodes", "address")),
        "workspaces": tuple(text for _, text in _texts(document, "workspaces", "id")),
    }
    for path, workspace in document.blocks("workspaces"):
        yield from _workspace(document, path, workspace, known)
    for path, app in document.blocks("apps"):
        yield from _app(document, path, app, known["workspaces"])


def _workspace(
    document: Document, path: Path, workspace: Mapping[Any, Any], known: Mapping[str, Sequence[str]]
) -> Iterator[Problem]:
    yield from _unknown(document, (*path, "gate"), known["gates"], "gate")
    for name in _names(workspace.get("apps")):
        yield from _unknown(document, (*path, "apps", name), known["apps"], "app")
    ports = _port_numbers(workspace.get("ports"))
    for at, upstream in document.blocks(*path, "upstream"):
        yield from _upstream_node(document, (*at, "node"), known["nodes"])
        yield from _upstream_ports(document, at, upstream.get("ports"), ports)


def _upstream_node(document: Document, path: Path, addresses: Sequence[str]) -> Iterator[Problem]:
    written = document.get(*path)
    if isinstance(written, str) and node_key(written) not in {node_key(each) for each in addresses}:
        yield Problem(document.spot(path).value, path, f"no node has the address {quoted(written)}", written, addresses)


def _upstream_ports(document: Document, at: Path, mapping: Any, ports: Sequence[int]) -> Iterator[Problem]:
    if not ports or not isinstance(mapping, dict) or not mapping:
        return
    declared = tuple(str(port) for port in ports)
    for key in mapping:
        if _port_number(key) not in ports:
            path = (*at, "ports", key)
            yield Problem(
                document.spot(path).first, path, "the workspace declares no such port under ports:", str(key), declared
            )
    missing = [port for port in ports if port not in _port_numbers(mapping)]
    if missing:
        path = (*at, "ports")
        yield Problem(
            document.spot(path).first,
            path,
            f"the workspace declares port {missing[0]} too: say where this replica listens for it",
        )


def _app(document: Document, path: Path, app: Mapping[Any, Any], workspaces: Sequence[str]) -> Iterator[Problem]:
    yield from _unknown(document, (*path, "workspace"), workspaces, "workspace")
    port = app.get("port")
    declared = next(
        (
            _port_numbers(workspace.get("ports"))
            for _, workspace in document.blocks("workspaces")
            if isinstance(app.get("workspace"), str) and workspace.get("id") == app["workspace"]
        ),
        (),
    )
    if type(port) is int and declared and port not in declared:
        at = (*path, "port")
        names = tuple(str(each) for each in declared)
        yield Problem(document.spot(at).value, at, "the workspace declares no such port under ports:", str(port), names)


def _unknown(document: Document, path: Path, names: Sequence[str], noun: str) -> Iterator[Problem]:
    written = document.get(*path)
    if isinstance(written, str) and written and written not in names:
        yield Problem(document.spot(path).value, path, f"there is no {noun} {quoted(written)}", written, names)


def _duplicates(document: Document, found: Sequence[tuple[Path, str]], noun: str) -> Iterator[Problem]:
    first: dict[str, Path] = {}
    for path, text in found:
        if text in first:
            line = document.spot(first[text]).value.line
            yield Problem(
                document.spot(path).value, path, f"the same {noun} as {dotted(first[text][:-1])} in line {line}"
            )
        first.setdefault(text, path)


def _shared_credentials(document: Document) -> Iterator[Problem]:
    """A credential opens one workspace: keys of two, or the key that is a keyless workspace's id, are refused."""
    opens: dict[str, tuple[Path, str]] = {}
    keys: list[tuple[Path, str]] = []
    for path, workspace in document.blocks("workspaces"):
        listed = workspace.get("keys")
        if isinstance(listed, list) and listed:
            keys += [((*path, "keys", index), key.lower()) for index, key in enumerate(listed) if isinstance(key, str)]
        elif isinstance(workspace.get("id"), str):
            digest = hashlib.sha256(workspace["id"].encode("utf-8", "surrogatepass")).hexdigest()
            opens.setdefault(digest, ((*path, "id"), "is the id of"))
    for path, digest in keys:
        if digest in opens:
            other, what = opens[digest]
            line = document.spot(other).value.line
            yield Problem(
                document.spot(path).value,
                path,
                f"this key {what} {dotted(other[:2])} in line {line}: no two may share one",
            )
        opens.setdefault(digest, (path, "is one of"))


def _texts(document: Document, block: str, key: str) -> list[tuple[Path, str]]:
    """What stands under ``key`` in each block; as it is written where quotes were forgotten, which is said already."""
    found: list[tuple[Path, str]] = []
    for path, values in document.blocks(block):
        value = values.get(key)
        text = value if isinstance(value, str) else document.spot((*path, key)).text if key in values else None
        if text:
            found.append(((*path, key), text))
    return found


def _names(value: Any) -> tuple[str, ...]:
    return tuple(key for key in value if isinstance(key, str)) if isinstance(value, dict) else ()


def _port_numbers(value: Any) -> tuple[int, ...]:
    return tuple(_port_number(key) for key in value) if isinstance(value, dict) else ()


def _port_number(key: Any) -> int:
    """A key of a mapping of ports; -1 where it is none."""
    if isinstance(key, str):
        return int(key) if key.isascii() and key.isdigit() and len(key) <= 5 else -1
    return key if isinstance(key, int) else -1
