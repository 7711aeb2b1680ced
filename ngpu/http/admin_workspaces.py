"""The admin API's routes of workspaces: list, show, make, change, remove."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ngpu.fleet.replicas import nodes_serving
from ngpu.http.access_log import annotate
from ngpu.http.admin import AdminRoute, json_body
from ngpu.http.reply import Reply
from ngpu.http.server import NgpuRequest
from ngpu.line import Line
from ngpu.member import Health, Member
from ngpu.settings import Image
from ngpu.wire.replies import success
from ngpu.workspaces import Deployment, Entry, IDeployments, Workspaces, shown

Queued = Callable[[str], Awaitable[int]]
"""How many tasks of a workspace wait; see `ITaskStore.queued`."""

NOT_DEPLOYED = Deployment("failed", "nothing deploys it: this gateway runs no fleet")


class AdminWorkspaces:
    """The routes; each takes a request and gives a `Reply`.

    :param deployments: the fleet; ``None`` where there is none.
    """

    def __init__(
        self,
        workspaces: Workspaces,
        lines: Mapping[str, Line],
        queued: Queued,
        deployments: IDeployments | None = None,
    ) -> None:
        self._workspaces = workspaces
        self._lines = lines
        self._queued = queued
        self._deployments = deployments

    @property
    def routes(self) -> Sequence[AdminRoute]:
        """All of them."""
        return (
            ("GET", "/workspaces", self.list),
            ("POST", "/workspaces", self.create),
            ("GET", "/workspaces/<workspace>", self.show),
            ("PUT", "/workspaces/<workspace>", self.replace),
            ("DELETE", "/workspaces/<workspace>", self.delete),
        )

    async def all_workspaces(self) -> list[dict[str, Any]]:
        """The same, without a request.

        :raises StoreUnavailable: nobody knows how much waits.
        """
        return [await self._line(each) for each in self._workspaces.entries()]

    async def list(self, request: NgpuRequest) -> Reply:
        """A line for each workspace."""
        return Reply({**success(), "workspaces": await self.all_workspaces()})

    async def show(self, request: NgpuRequest, workspace: str) -> Reply:
        """All that is known of one, but its secrets."""
        return Reply({**success(), "workspace": await self._whole(self._workspaces.get(workspace))})

    async def create(self, request: NgpuRequest) -> Reply:
        """Make one out of a block as the configuration file has them."""
        entry = await self._workspaces.create(await json_body(request))
        _note(request, entry)
        return Reply({**success("created"), "workspace": await self._whole(entry)}, 201)

    async def replace(self, request: NgpuRequest, workspace: str) -> Reply:
        """Change one, by its whole block."""
        self._workspaces.get(workspace)
        entry = await self._workspaces.replace(workspace, await json_body(request))
        _note(request, entry)
        return Reply({**success("changed"), "workspace": await self._whole(entry)})

    async def delete(self, request: NgpuRequest, workspace: str) -> Reply:
        """Remove one."""
        _note(request, self._workspaces.get(workspace))
        line = self._lines.get(workspace)
        members = list(line.pool.members.values()) if line is not None else []
        await self._workspaces.delete(workspace)
        running = _in_flight(members)
        return Reply(success(f"removed; calls that run on to their end: {running}" if running else "removed"))

    async def _line(self, entry: Entry) -> dict[str, Any]:
        workspace, line = entry.workspace, self._lines.get(entry.id)
        members = list(line.pool.members.values()) if line is not None else []
        deployment = self._deployment(entry)
        static = workspace is not None and workspace.image is None
        return {
            "id": entry.id,
            "name": workspace.name if workspace is not None else "",
            "source": str(entry.source),
            "image": _image(workspace.image) if workspace is not None else None,
            "replicas": 0 if workspace is None else len(workspace.upstream) if static else workspace.replicas,
            "running": len(members) if static else deployment.running,
            "serving": sum(line.pool.serves(member) for member in members) if line is not None else 0,
            "queued": await self._queued(entry.id),
            "in_flight": _in_flight(members),
            "state": deployment.state,
            "reason": deployment.reason,
        }

    async def _whole(self, entry: Entry) -> dict[str, Any]:
        line, deployment = self._lines.get(entry.id), self._deployment(entry)
        members = list(line.pool.members.values()) if line is not None else []
        static = entry.workspace is not None and entry.workspace.image is None
        serving = nodes_serving(members)
        return {
            **await self._line(entry),
            "settings": shown(entry.settings),
            "problems": [{"path": path, "message": message} for path, message in entry.problems],
            "copies": [_copy(member) for member in members] if static else list(deployment.copies),
            "nodes": [_node(address, up) for address, up in serving.items()] if static else list(deployment.nodes),
            "unplaced": list(deployment.unplaced),
        }

    def _deployment(self, entry: Entry) -> Deployment:
        if entry.workspace is None:
            return Deployment("failed", "its settings do not fit the configuration any more; change or remove it")
        if entry.workspace.image is None:
            return Deployment("static")
        told = self._deployments.deployment(entry.id) if self._deployments is not None else None
        return told or NOT_DEPLOYED


def _note(request: NgpuRequest, entry: Entry) -> None:
    if entry.workspace is not None:
        annotate(request, workspace=entry.workspace.label)


def _image(image: Image | None) -> str | None:
    return None if image is None else shown(image.reference or image.archive)


def _in_flight(members: Any) -> int:
    return sum(member.in_flight for member in members)


def _copy(member: Member) -> dict[str, Any]:
    """A replica that runs already, in the words in which the fleet tells of its copies."""
    return {
        "id": member.replica.id,
        "node": member.replica.node.address,
        "machine": "",
        "revision": "",
        "state": "static",
        "reason": member.reason,
        "health": member.health.value,
        "in_flight": member.in_flight,
        "ports": {str(declared): port for declared, port in member.replica.ports.items()},
    }


def _node(address: str, up: bool) -> dict[str, Any]:
    return {"address": address, "progress": 100, "status": int(up), "reason": "" if up else Health.DOWN.value}
