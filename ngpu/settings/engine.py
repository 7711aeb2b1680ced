"""``nodes[].engine``: which plugin it names, and what that plugin gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Path = tuple[str | int, ...]
_FILES = ("ca", "cert", "key")


def engine_plugin(engine: str) -> tuple[str, str]:
    """The plugin's name and the URL of what stands as ``[plugin+]scheme://…``."""
    name, plus, url = engine.partition("+")
    return (name, url) if plus and "://" not in name else ("docker", engine)


def engine_options(url: str, tls: Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an engine's plugin, out of a node's block."""
    files = {name: str(tls[name]) for name in _FILES if name in tls} if tls is not None else {}
    return {**options, "url": url, **files}


def engine_path(path: Path) -> Path:
    """Where in a node's block an option of its engine's plugin stands.

    :param path: of a ConfigError of whoever makes plugins; ``()`` is the plugin's name.
    """
    path = path[1:] if path[:1] == ("options",) else path
    if not path or path[0] == "url":
        return ("engine",)
    return ("tls", *path) if path[0] in _FILES else ("engine_options", *path)
