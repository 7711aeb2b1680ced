"""What the fleet tells of a workspace that it deploys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Deployment:
    """How a workspace's copies stand, for its operator.

    ``state`` is one of deploying, serving, degraded, failed, suspended, removing; ``reason`` a sentence where there is
    something to say; ``running`` how many copies run. The rest is as the admin API shows it (docs/openapi-admin.yaml),
    JSON all through: ``copies`` {id, node, machine, revision, state, reason, health, in_flight, ports}, ``nodes``
    {address, progress, status, reason}, ``unplaced`` {address, reason}.
    """

    state: str
    reason: str = ""
    running: int = 0
    copies: Sequence[Mapping[str, Any]] = ()
    nodes: Sequence[Mapping[str, Any]] = ()
    unplaced: Sequence[Mapping[str, Any]] = ()


class IDeployments(Protocol):
    """The fleet, as the admin API asks it."""

    def deployment(self, workspace_id: str) -> Deployment | None:
        """How a workspace's copies stand; ``None`` where the fleet has nothing to do with it."""
