"""The gateway's workspaces and what the fleet makes of them, as the counter asks for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ngpu.cloud.standing import NodeStanding, Standing
from ngpu.errors import NotFound
from ngpu.workspaces import Deployment, IDeployments, Workspaces

_OVER = frozenset({"failed", "suspended", "removing"})
"""States in which nothing more comes by itself."""


class Deployed:
    """See `ngpu.cloud.counter.IWorkspaces`.

    :param deployments: the fleet; ``None`` where there is none.
    """

    def __init__(self, workspaces: Workspaces, deployments: IDeployments | None = None) -> None:
        self._workspaces = workspaces
        self._deployments = deployments

    def has(self, workspace_id: str) -> bool:
        """See `IWorkspaces.has`."""
        try:
            self._workspaces.get(workspace_id)
        except NotFound:
            return False
        return True

    async def look(self) -> None:
        """See `IWorkspaces.look`."""
        await self._workspaces.look()

    async def create(self, block: Mapping[str, Any]) -> None:
        """See `IWorkspaces.create`."""
        await self._workspaces.create(block)

    async def delete(self, workspace_id: str) -> None:
        """See `IWorkspaces.delete`."""
        await self._workspaces.delete(workspace_id)

    def standing(self, workspace_id: str) -> Standing:
        """See `IWorkspaces.standing`."""
        if self._workspaces.get(workspace_id).workspace is None:
            return Standing(ended=True, reason="it does not fit the gateway's configuration any more: ask the operator")
        deployment = self._deployments.deployment(workspace_id) if self._deployments is not None else None
        return Standing() if deployment is None else _standing(deployment)


def _standing(deployment: Deployment) -> Standing:
    """Of those without a place, too, why they have none, where nothing else is said."""
    nodes = [
        NodeStanding(str(node["address"]), int(node["progress"]), node["status"] == 1, str(node.get("reason", "")))
        for node in deployment.nodes
    ]
    unplaced = next((str(each["reason"]) for each in deployment.unplaced), "")
    return Standing(nodes, deployment.state in _OVER, deployment.reason or unplaced)
