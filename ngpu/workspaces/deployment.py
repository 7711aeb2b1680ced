"""What the fleet tells of a workspace that it deploys."""

from __future__ import annotations

from typing import Protocol

from ngpu.fleet.reports import DeploymentReport as Deployment

__all__ = ["Deployment", "IDeployments"]


class IDeployments(Protocol):
    """The fleet, as the admin API asks it."""

    def deployment(self, workspace_id: str) -> Deployment | None:
        """How a workspace's copies stand; ``None`` where the fleet has nothing to do with it."""
