"""Container engine ``swarm``: a Docker Swarm, through one of its managers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ngpu import options as read
from ngpu.errors import ConfigError
from ngpu.interfaces import Option, PluginContext
from ngpu.plugin import Factory
from ngpu.plugins.docker import OPTIONS as OF_DOCKER
from ngpu.plugins.docker import way

_SHARED = ("url", "ca", "cert", "key", "identity", "known_hosts", "timeout", "init")

OPTIONS = (
    *(option for option in OF_DOCKER if option.name in _SHARED),
    Option("resource", "the kind of generic resource that machines declare for each GPU", "NVIDIA-GPU"),
    Option("constraints", "what machines must be, as `docker service create --constraint` takes it", []),
    Option("restart_delay", "between the end of a container and its next start", "5s", "duration"),
)

_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_CONSTRAINT = re.compile(r"(node|engine)\.[A-Za-z0-9_.-]+ *(==|!=) *[^\s=!]([^=!\x00-\x1f]*[^\s=!])?")


def _make(options: Mapping[str, Any], context: PluginContext) -> Any:
    # here, since the SDK takes a while to import and most commands have no engine
    from ngpu.engines.daemon import Daemon
    from ngpu.engines.swarm import SwarmEngine
    from ngpu.engines.swarm_service import Manners

    timeout = read.duration(options, "timeout", "10s", 600)
    manners = Manners(
        _resource(options), _constraints(options), read.duration(options, "restart_delay", "5s", 3600), _init(options)
    )
    return SwarmEngine(Daemon(way(options, context.folder), context.clock, timeout, timeout), manners)


def _resource(options: Mapping[str, Any]) -> str:
    value = options.get("resource", "NVIDIA-GPU")
    if not isinstance(value, str) or not _RESOURCE.fullmatch(value):
        raise ConfigError("must be a kind of generic resource, such as NVIDIA-GPU", ("resource",))
    return value


def _constraints(options: Mapping[str, Any]) -> tuple[str, ...]:
    value = options.get("constraints", [])
    if not isinstance(value, list | tuple):
        raise ConfigError('must be a list, such as ["node.labels.gpu == rtx3090"]', ("constraints",))
    for index, each in enumerate(value):
        if not isinstance(each, str) or not _CONSTRAINT.fullmatch(each):
            raise ConfigError('must be a constraint, such as "node.role == worker"', ("constraints", index))
    return tuple(value)


def _init(options: Mapping[str, Any]) -> bool:
    value = options.get("init", True)
    if not isinstance(value, bool):
        raise ConfigError("must be true or false", ("init",))
    return value


swarm = Factory("engine", "swarm", "A Docker Swarm, through one of its managers: it chooses machines.", _make, OPTIONS)
