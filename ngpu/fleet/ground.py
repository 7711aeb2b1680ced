"""From settings to what a fleet stands on: nodes with their engines, and logins at registries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ngpu.containers import RegistryLogin
from ngpu.errors import ConfigError, EngineRefused
from ngpu.fleet.images import Login
from ngpu.fleet.station import Post
from ngpu.model import Node, node_key
from ngpu.settings import NodeSettings, Registry, Settings
from ngpu.settings.engine import engine_options, engine_path, engine_plugin

Make = Callable[[str, str, Mapping[str, Any]], Any]
"""Makes a plugin's instance: family, name, options; raises ConfigError."""


@dataclass(frozen=True)
class Ground:
    """What a fleet stands on.

    ``name`` marks its containers; ``interval`` and ``node_grace`` are seconds; ``folder`` is where relative paths of
    archives are taken from. ``posts`` are the nodes that have an engine, ``static`` those that have none, with their
    memory in bytes.
    """

    name: str
    interval: float
    node_grace: float
    folder: Path
    posts: tuple[Post, ...] = ()
    static: tuple[tuple[Node, int], ...] = ()


def ground_of(settings: Settings, nodes: Mapping[str, Node], make: Make) -> Ground:
    """What the settings' fleet stands on.

    :param nodes: as `ngpu.fleet.replicas.nodes_by_key` has them.
    :raises ConfigError: an engine's plugin is unknown or refuses its options; the path begins with ``nodes``.
    """
    posts, static = [], []
    for index, node in enumerate(settings.nodes):
        key = node_key(node.address)
        if node.engine is None:
            static.append((nodes[key], node.memory))
            continue
        try:
            posts.append(_post(node, nodes[key], key, make))
        except ConfigError as error:
            raise ConfigError(str(error), ("nodes", index, *engine_path(error.path))) from None
    fleet = settings.fleet
    return Ground(fleet.name, fleet.interval, settings.node_grace, settings.folder, tuple(posts), tuple(static))


def _post(settings: NodeSettings, node: Node, key: str, make: Make) -> Post:
    plugin, url = engine_plugin(settings.engine or "")
    tls = None if settings.tls is None else settings.tls.model_dump()
    engine = make("engine", plugin, engine_options(url, tls, settings.engine_options))
    gpus = settings.gpus
    ids = gpus.ids or tuple(str(number) for number in range(gpus.count))
    return Post(key, node, engine, plugin, ids, settings.memory)


def logins(registries: Mapping[str, Registry]) -> Login:
    """Logins by a registry's host; passwords are read each time, so that a new one holds at once."""

    def login(host: str) -> RegistryLogin | None:
        registry = registries.get(host)
        if registry is None:
            return None
        try:
            password = registry.password_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise EngineRefused(f"the password for the registry {host} cannot be read from its file: {why}") from None
        if not password:
            raise EngineRefused(f"the file with the password for the registry {host} is empty")
        return RegistryLogin(registry.username, password)

    return login
