"""Checks between blocks: names that must exist, and things that must not be there twice.

They work on the plain values and skip what has not its shape, so that they find what they can beside other errors.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ngpu.model import node_key
from ngpu.settings.account import email_key
from ngpu.settings.document import Document
from ngpu.settings.raw import host_key
from ngpu.settings.report import Path, Problem, dotted, quoted

_TCP = re.compile(r"(?:tcp|ssl):(?:port=)?(\d{1,5})(?::interface=([0-9.]+))?", re.ASCII)
"""Endpoints of which it is plain what they take; others are left to the start."""


class _Names:
    """The names that a reference may have: ``shown`` as they are written, ``keys`` in the spelling that compares."""

    def __init__(self, names: Iterable[str], key: Callable[[str], str] = str) -> None:
        self.shown = tuple(names)
        self.key = key
        self.keys = frozenset(map(key, self.shown))

    def __contains__(self, name: str) -> bool:
        return self.key(name) in self.keys


def check_references(document: Document) -> Iterator[Problem]:
    """Every problem that only shows between blocks."""
    ids, addresses = _texts(document, ("workspaces",), "id"), _texts(document, ("nodes",), "address")
    yield from _duplicates(document, ids, "workspace")
    yield from _duplicates(document, [(path, node_key(text)) for path, text in addresses], "node")
    emails = [(path, email_key(text)) for path, text in _texts(document, ("cloud", "accounts"), "email")]
    yield from _duplicates(document, emails, "account")
    engines = [(path, text.removeprefix("docker+")) for path, text in _texts(document, ("nodes",), "engine")]
    yield from _duplicates(document, engines, "engine")  # what one of them runs would be too much for the other
    yield from _shared_credentials(document)
    yield from _duplicates(document, _hosts(document), "host")
    yield from check_names(document)
    yield from _apps(document, ids)
    yield from _one_port_twice(document)


def check_names(document: Document) -> Iterator[Problem]:
    """What workspaces refer to, and is not there."""
    nodes = _Names((text for _, text in _texts(document, ("nodes",), "address")), node_key)
    gates, apps = _Names(_keys(document.get("gates"))), _Names(_keys(document.get("apps")))
    for path, workspace in document.blocks("workspaces"):
        yield from _unknown(document, (*path, "gate"), gates, "there is no gate")
        for name in _keys(workspace.get("apps")):
            yield from _unknown(document, (*path, "apps", name), apps, "there is no app")
        yield from _upstream(document, path, workspace.get("ports"), nodes)


def _one_port_twice(document: Document) -> Iterator[Problem]:
    """Two listeners that want one port: the second could not start."""
    first: dict[tuple[str, str], Path] = {}
    for block in (("listen",), ("admin", "listen")):
        listed = document.get(*block)
        for index, text in enumerate(listed if isinstance(listed, list) else ()):
            found = _TCP.fullmatch(text) if isinstance(text, str) else None
            if found is None or found[1] == "0":
                continue
            place = found[1], found[2] or ""
            other = next(
                (path for (port, host), path in first.items() if port == place[0] and _meet(host, place[1])), None
            )
            if other is not None:
                line = document.spot(other).value.line
                why = f"port {place[0]} is taken by {dotted(other)} in line {line}: choose another one"
                yield Problem(document.spot((*block, index)).value, (*block, index), why)
            first.setdefault(place, (*block, index))


def _meet(host: str, other: str) -> bool:
    """Whether two interfaces cannot have the same port: they are the same, or one of them is all."""
    return host == other or not {"", "0.0.0.0"}.isdisjoint((host, other))  # noqa: S104


def _upstream(document: Document, path: Path, ports: Any, nodes: _Names) -> Iterator[Problem]:
    declared = _port_numbers(ports)
    names = tuple(map(str, declared))
    for at, upstream in document.blocks(*path, "upstream"):
        yield from _unknown(document, (*at, "node"), nodes, "no node has the address")
        mapping = upstream.get("ports")
        if not declared or not isinstance(mapping, dict) or not mapping:
            continue
        for key in mapping:
            if _port_number(key) not in declared:
                yield _no_port(document, (*at, "ports", key), key, names)
        missing = declared.keys() - _port_numbers(mapping).keys()
        if missing:
            where = (*at, "ports")
            why = f"the workspace declares port {min(missing)} too: say where this replica listens for it"
            yield Problem(document.spot(where).first, where, why)


def _apps(document: Document, ids: Sequence[tuple[Path, str]]) -> Iterator[Problem]:
    workspaces = _Names(text for _, text in ids)
    ports = {text: _port_numbers(document.get(*path[:-1], "ports")) for path, text in ids}
    for path, app in document.blocks("apps"):
        at = (*path, "workspace")
        yield from _unknown(document, at, workspaces, "there is no workspace")
        name, port = app.get("workspace"), app.get("port")
        declared = ports.get(name) if isinstance(name, str) else None
        if type(port) is int and declared and port not in declared:
            yield _no_port(document, (*path, "port"), port, tuple(map(str, declared)))


def peer_problems(document: Document, path: Path, workspace: str, port: int | None) -> Iterator[Problem]:
    """What is wrong with a workspace and port that stand in a block at ``path``, such as in a plugin's options."""
    ids = _texts(document, ("workspaces",), "id")
    yield from _unknown(document, (*path, "workspace"), _Names(text for _, text in ids), "there is no workspace")
    declared = {text: _port_numbers(document.get(*at[:-1], "ports")) for at, text in ids}.get(workspace)
    if port is not None and declared and port not in declared:
        yield _no_port(document, (*path, "port"), port, tuple(map(str, declared)))


def _no_port(document: Document, path: Path, port: Any, declared: Sequence[str]) -> Problem:
    spot = document.spot(path)
    place = spot.value if path[-1] == "port" else spot.first
    return Problem(place, path, "the workspace declares no such port", str(port), declared)


def _unknown(document: Document, path: Path, names: _Names, why: str) -> Iterator[Problem]:
    written = document.get(*path)
    if isinstance(written, str) and written and written not in names:
        yield Problem(document.spot(path).value, path, f"{why} {quoted(written)}", written, names.shown)


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


def _texts(document: Document, blocks: Path, key: str) -> list[tuple[Path, str]]:
    """What stands under ``key`` in the blocks; as it is written where quotes were forgotten, which is said already."""
    found: list[tuple[Path, str]] = []
    for path, values in document.blocks(*blocks):
        value = values.get(key)
        text = value if isinstance(value, str) else document.spot((*path, key)).text if key in values else None
        if text:
            found.append(((*path, key), text))
    return found


def _hosts(document: Document) -> list[tuple[Path, str]]:
    """The virtual hosts of all workspaces, in the spelling that compares."""
    return [
        ((*path, "hosts", index), host_key(host))
        for path, workspace in document.blocks("workspaces")
        for index, host in enumerate(workspace["hosts"] if isinstance(workspace.get("hosts"), list) else ())
        if isinstance(host, str)
    ]


def _keys(value: Any) -> list[str]:
    return [key for key in value if isinstance(key, str)] if isinstance(value, dict) else []


def _port_numbers(value: Any) -> dict[int, None]:
    """The keys of a mapping of ports, in their order."""
    return dict.fromkeys(map(_port_number, value)) if isinstance(value, dict) else {}


def _port_number(key: Any) -> int:
    """A key of a mapping of ports; -1 where it is none."""
    if isinstance(key, str):
        return int(key) if key.isascii() and key.isdigit() and len(key) <= 5 else -1
    return key if isinstance(key, int) else -1
