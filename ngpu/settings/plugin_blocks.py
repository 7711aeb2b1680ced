"""Checks of the blocks that name plugins: whoever knows the plugins is asked about each block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from ngpu.errors import ConfigError
from ngpu.settings.container import PlacementSettings
from ngpu.settings.document import Document
from ngpu.settings.engine import engine_options, engine_path, engine_plugin
from ngpu.settings.references import peer_problems
from ngpu.settings.report import Path, Problem
from ngpu.settings.service import DEFAULT_STORE
from ngpu.settings.workspace import Selection

CheckBlock = Callable[[str, str, Mapping[str, Any]], object]
"""Asked with family, name and options; raises ConfigError: path ``()`` is the name, else it leads to the option."""

FindPlugins = Callable[[Sequence[FilePath]], CheckBlock]
"""Asked once, with the folders of ``plugins.path``; raises ConfigError when what is there cannot be used."""

_BLOCKS: Sequence[tuple[str, str | None, str, str, str | None]] = (
    ("workspaces", "selection", "policy", "selection", Selection().policy),
    ("workspaces", "placement", "policy", "placement", PlacementSettings().policy),
    ("gates", None, "checker", "checker", None),
    ("apps", None, "adapter", "adapter", None),
)
"""Where blocks stand, the key of the plugin's name, its family, and the plugin where none is named."""


def check_plugins(document: Document, folder: FilePath, find: FindPlugins) -> Iterator[Problem]:
    """Every block whose plugin does not exist, or does not take its options.

    :param folder: what the folders of ``plugins.path`` are relative to.
    """
    listed = document.get("plugins", "path")
    folders = [folder / each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
    try:
        check = find(folders)
    except ConfigError as error:
        yield _problem(document, error.path, str(error))
        return
    yield from _check_store(document, check)
    for top, key, name_key, family, default in _BLOCKS:
        for path, outer in document.blocks(top):
            block = outer if key is None else outer.get(key)
            if isinstance(block, dict):
                at = path if key is None else (*path, key)
                yield from _check(document, at, {name_key: default, **block}, name_key, family, check)
    yield from _check_engines(document, check)


def _check_engines(document: Document, check: CheckBlock) -> Iterator[Problem]:
    for path, node in document.blocks("nodes"):
        engine, tls, options = node.get("engine"), node.get("tls"), node.get("engine_options", {})
        shaped = isinstance(options, dict) and all(isinstance(key, str) for key in options)
        if not isinstance(engine, str) or not shaped or not isinstance(tls, dict | None):
            continue
        name, url = engine_plugin(engine)
        try:
            check("engine", name, engine_options(url, tls, options))
        except ConfigError as error:
            yield _problem(document, (*path, *engine_path(error.path)), str(error))


def _check_store(document: Document, check: CheckBlock) -> Iterator[Problem]:
    """``store`` says the name as ``kind``, and the options beside it."""
    block = document.get("store")
    block = {} if block is None else block
    if not isinstance(block, dict) or not all(isinstance(key, str) for key in block):
        return
    options = {key: value for key, value in block.items() if key != "kind"}
    kind = block.get("kind", DEFAULT_STORE)
    if not isinstance(kind, str):
        return
    try:
        store = check("store", kind, options)
    except ConfigError as error:
        yield _problem(document, ("store", *(error.path[1:] or ("kind",))), str(error))
        return
    processes = document.get("processes")
    if getattr(store, "slots", None) is None and type(processes) is int and processes > 1:
        why = f"store {kind} is for one process: set it to 1, or take a store that several share, such as redis"
        yield _problem(document, ("processes",), why)


def _check(
    document: Document, path: Path, block: Mapping[Any, Any], name_key: str, family: str, check: CheckBlock
) -> Iterator[Problem]:
    name, options = block.get(name_key), block.get("options", {})
    if not isinstance(name, str) or not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
        return
    try:
        instance = check(family, name, options)
    except ConfigError as error:
        yield _problem(document, (*path, *error.path) if error.path else (*path, name_key), str(error))
        return
    for peer in getattr(instance, "peers", ()):
        yield from peer_problems(document, (*path, "options", *peer.path), peer.workspace, peer.port)
    if block.get("workspace") in [peer.workspace for peer in getattr(instance, "peers", ())]:
        why = "the app calls its own workspace from within: a replica would wait for itself"
        yield Problem(document.spot((*path, "options")).first, (*path, "options"), why)


def _problem(document: Document, path: Path, message: str) -> Problem:
    spot: Any = document.spot(path)
    return Problem(spot.value, path, message)
