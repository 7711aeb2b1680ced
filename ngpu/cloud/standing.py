"""How a workspace stands, in the fleet's words and in the client's numbers. Pure."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple


class NodeStanding(NamedTuple):
    """A copy on a node: how much of its image has come (0 to 100), whether it serves, and what keeps it from it."""

    address: str
    progress: int
    serving: bool
    reason: str = ""


class Standing(NamedTuple):
    """A workspace: its copies; ``ended`` says that nothing more will happen by itself, and ``reason`` why."""

    nodes: Sequence[NodeStanding] = ()
    ended: bool = False
    reason: str = ""


class DockerState(enum.IntEnum):
    """``docker_state``; the client knows READY, all others mean "not yet" to it."""

    WAITING = 1
    LOADING = 2
    STARTING = 3
    READY = 4
    FAILED = 5


def docker_state(standing: Standing) -> DockerState:
    """READY as soon as one copy serves: from then on the workspace can be called."""
    if any(node.serving for node in standing.nodes):
        return DockerState.READY
    if standing.ended:
        return DockerState.FAILED
    if not standing.nodes:
        return DockerState.WAITING
    if max(node.progress for node in standing.nodes) < 100:
        return DockerState.LOADING
    return DockerState.STARTING


def node_rows(standing: Standing) -> list[dict[str, Any]]:
    """``node_list``: copies that serve come first, since the client looks at the first one only."""
    return [
        {
            "nodeAddr": node.address,
            "rStatus": int(node.serving),
            "progress": 100 if node.serving else node.progress,
            "reason": node.reason,
        }
        for node in sorted(standing.nodes, key=lambda node: not node.serving)
    ]
