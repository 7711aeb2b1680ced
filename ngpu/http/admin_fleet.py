"""The admin API's routes of the fleet: its nodes, deploying and undeploying workspaces, and what copies print."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from ngpu.errors import BadRequest, Conflict, EngineError
from ngpu.http.access_log import annotate
from ngpu.http.admin import AdminRoute, json_body, parameter, whole_number
from ngpu.http.reply import Reply
from ngpu.http.server import NgpuRequest
from ngpu.wire.replies import success
from ngpu.workspaces import Workspaces

LINES, MOST_LINES = 100, 100_000
"""Lines from the end that a log begins with where nobody says, and at most."""

_TEXT = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class IFleet(Protocol):
    """What is asked of the fleet; see `ngpu.fleet.fleet.Fleet`."""

    def nodes(self) -> list[dict[str, Any]]:
        """All nodes."""

    def logs(self, copy_id: str, tail: int, follow: bool) -> AsyncIterator[bytes]:
        """What a copy printed."""

    async def deploy(self, workspace_id: str, fresh: bool = False) -> None:
        """Have a workspace's copies."""

    async def undeploy(self, workspace_id: str) -> None:
        """Have none."""

    async def drain(self, address: str) -> None:
        """Have a node empty."""

    async def undrain(self, address: str) -> None:
        """Let it have copies again."""


class AdminFleet:
    """The routes; each takes a request and gives a `Reply`."""

    def __init__(self, fleet: IFleet, workspaces: Workspaces) -> None:
        self._fleet = fleet
        self._workspaces = workspaces

    @property
    def routes(self) -> Sequence[AdminRoute]:
        """All of them."""
        return (
            ("GET", "/nodes", self.nodes),
            ("POST", "/nodes/<address>/drain", self.drain),
            ("POST", "/nodes/<address>/undrain", self.undrain),
            ("POST", "/workspaces/<workspace>/deploy", self.deploy),
            ("POST", "/workspaces/<workspace>/undeploy", self.undeploy),
            ("GET", "/logs", self.logs),
        )

    async def nodes(self, request: NgpuRequest) -> Reply:
        """A line for each node."""
        return Reply({**success(), "nodes": self.all_nodes()})

    def all_nodes(self) -> list[dict[str, Any]]:
        """The same, without a request."""
        return self._fleet.nodes()

    async def drain(self, request: NgpuRequest, address: str) -> Reply:
        """Place nothing more on a node, and move what is there."""
        await self._fleet.drain(address)
        return Reply(success("draining: its copies move elsewhere, and it gets none until it is undrained"))

    async def undrain(self, request: NgpuRequest, address: str) -> Reply:
        """Use a node again."""
        await self._fleet.undrain(address)
        return Reply(success("it may have copies again"))

    async def deploy(self, request: NgpuRequest, workspace: str) -> Reply:
        """Have a workspace's copies, also where it was undeployed."""
        self._has_image(request, workspace)
        asked = await json_body(request) if request.body.length != 0 else {}
        fresh = asked.get("fresh", False)
        if not isinstance(fresh, bool) or not asked.keys() <= {"fresh"}:
            raise BadRequest('send {"fresh": true} to find out anew what the image is, or nothing')
        await self._fleet.deploy(workspace, fresh)
        return Reply(success("deploying"))

    async def undeploy(self, request: NgpuRequest, workspace: str) -> Reply:
        """Drain a workspace's copies, and remove them."""
        self._has_image(request, workspace)
        await self._fleet.undeploy(workspace)
        return Reply(success("its copies are drained, then removed; its tasks wait until it is deployed again"))

    async def logs(self, request: NgpuRequest) -> Reply:
        """What a copy has printed, and with ``follow=1`` what it goes on to print."""
        replica = parameter(request, "replica")
        if not replica:
            raise BadRequest("replica is missing: add ?replica=… with the id of a copy to the address")
        follow = parameter(request, "follow") or "0"
        if follow not in ("0", "1"):
            raise BadRequest("follow must be 1 or 0")
        lines = self._fleet.logs(replica, whole_number(request, "tail", 0, MOST_LINES, LINES), follow == "1")
        # what goes wrong before the first line is a status; nobody knows when that comes where it is followed
        first = await anext(lines, b"") if follow == "0" else b""
        return Reply(_told(first, lines), headers=_TEXT)

    def _has_image(self, request: NgpuRequest, workspace: str) -> None:
        entry = self._workspaces.get(workspace)
        if entry.workspace is not None:
            annotate(request, workspace=entry.workspace.label)
            if entry.workspace.image is None:
                raise Conflict("this workspace has no image: its replicas are those that upstream: names")


async def _told(first: bytes, lines: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The lines, and at their end why there are no more, where an engine has failed."""
    if first:
        yield first
    try:
        if isinstance(lines, AsyncGenerator):
            async with aclosing(lines):
                async for piece in lines:
                    yield piece
        else:
            async for piece in lines:
                yield piece
    except EngineError as error:
        yield f"ngpu: {error}\n".encode()
