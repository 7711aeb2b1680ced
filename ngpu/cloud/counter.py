"""What the published client can do once it is logged in: the use cases behind its calls (wire contract §7)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from twisted.logger import Logger

from ngpu.adapter import IUrlCheck
from ngpu.cloud.asked import ImageAsked, WorkspaceAsked
from ngpu.cloud.block import read_run, workspace_block
from ngpu.cloud.catalog import Catalog, Group, Owned
from ngpu.cloud.products import Product, product_row, products
from ngpu.cloud.standing import Standing, docker_state, node_rows
from ngpu.errors import BadRequest, Conflict, NotFound, StoreUnavailable
from ngpu.settings import NodeSettings
from ngpu.wire.times import format_time


class IWorkspaces(Protocol):
    """The workspaces of the gateway, as far as the counter has to do with them."""

    def has(self, workspace_id: str) -> bool:
        """Whether there is one of that id, whoever made it."""

    async def look(self) -> None:
        """See which ones other gateways have made or removed.

        :raises StoreUnavailable: the store cannot read.
        """

    async def create(self, block: Mapping[str, Any]) -> None:
        """Make a workspace; durable when this returns, and its id is a credential from then on.

        :param block: as it would stand in the file.
        :raises BadRequest: it is no workspace that could be served; nothing was made.
        :raises Conflict: there is one of that id.
        """

    async def delete(self, workspace_id: str) -> None:
        """Drain it, then remove it; from the start of that on its id opens nothing.

        :raises NotFound: there is none.
        """

    def standing(self, workspace_id: str) -> Standing:
        """How its copies stand."""


class Counter:
    """Serves the accounts. Whose call it is says ``account``, the account's key.

    :param nodes: what products are made of.
    :param mounts: folders of nodes that a ``start_cmd`` may mount.
    :param clock: seconds since the epoch.
    :param zone: of the times in replies.
    """

    log = Logger("ngpu.cloud")

    def __init__(
        self,
        catalog: Catalog,
        workspaces: IWorkspaces,
        urls: IUrlCheck,
        *,
        nodes: Sequence[NodeSettings],
        mounts: Sequence[str],
        clock: Callable[[], float],
        zone: ZoneInfo,
    ) -> None:
        self._catalog = catalog
        self._workspaces = workspaces
        self._urls = urls
        self._products = products(nodes)
        self._areas = {area for product in self._products for area in product.areas}
        self._mounts = mounts
        self._clock = clock
        self._zone = zone
        self._making: set[tuple[str, str]] = set()

    async def open(self) -> None:
        """Read what was kept. A workspace whose making, or whose end, a crash cut short is forgotten.

        Where that has to wait for the turn of a gateway that was killed, a later start does it: nobody is shown one.

        :raises StoreUnavailable: the store cannot read.
        """
        await self._catalog.look()
        if not await self._halves():
            return
        try:
            await self._catalog.alone(self._tidy)
        except StoreUnavailable as error:
            self.log.warn(
                "workspaces that were made or removed by half are not forgotten yet: {error}", error=str(error)
            )

    async def _tidy(self) -> None:
        for workspace_id in await self._halves():
            await self._catalog.workspaces.remove(workspace_id)

    async def _halves(self) -> Sequence[str]:
        await self._workspaces.look()  # after the records: of each that is whole there is a workspace
        return [each.id for each in self._catalog.workspaces.all if not self._workspaces.has(each.id)]

    async def follow(self, collections: Collection[str]) -> None:
        """See what other gateways have made or removed; see `ngpu.cloud.catalog` for the collections.

        :raises StoreUnavailable: the store cannot read.
        """
        await self._catalog.look(collections)

    async def create_image(self, account: str, asked: ImageAsked) -> dict[str, Any]:
        """Keep an image; the very same one as before is not kept twice.

        :raises BadRequest: it could not be deployed.
        """
        read_run(asked, self._mounts)
        await self._urls.check(asked.wget_url, "wget_url")

        async def keep() -> Owned[ImageAsked]:
            same = next((each for each in self._catalog.images.of(account) if each.content == asked), None)
            return same or await self._catalog.images.add(account, asked, self._clock(), self._workspaces.has)

        return {"image_id": (await self._catalog.alone(keep)).id}

    def images(self, account: str) -> list[dict[str, Any]]:
        """The account's images."""
        return [
            {
                "id": each.id,
                "image_name": each.content.image_name,
                "type": each.content.type,
                "wget_url": each.content.wget_url,
                "file_size": each.content.file_size,
                "file_path": each.content.file_path,
                "created_at": format_time(each.made_at, self._zone),
                "note": each.content.note,
                "action": each.content.action,
                "start_cmd": each.content.start_cmd,
                "stop_cmd": each.content.stop_cmd,
                "port_mapping": each.content.port_mapping,
                "exception": each.content.exception,
                "is_system": False,
                "docker_image_id": each.content.docker_image_id,
            }
            for each in self._catalog.images.of(account)
        ]

    def products(self) -> list[dict[str, Any]]:
        """What can be rented."""
        return [product_row(product) for product in self._products]

    async def create_workspace(self, account: str, order: WorkspaceAsked) -> dict[str, Any]:
        """Deploy an image. The id that comes back opens the workspace at once (wire contract §2).

        :raises NotFound: there is no such image, product or group.
        :raises BadRequest: they do not fit each other, or the image's URL leads where it may not.
        :raises Conflict: the account has a workspace of that name.
        """
        await self._catalog.look()  # what another gateway made a moment ago is there
        image = self._catalog.images.get(account, order.image_id)
        product = self._product(order.product_id)
        if order.workspace_group_id:
            self._catalog.groups.get(account, order.workspace_group_id)
        elif order.is_group:
            raise BadRequest("workspace_group_id is missing: is_group is true")
        await self._urls.check(image.content.wget_url, "wget_url")
        name = (account, order.workspace_name)

        async def make() -> str:
            same = [each for each in self._catalog.workspaces.of(account) if each.content.workspace_name == name[1]]
            if same:
                await self._workspaces.look()  # another gateway may have made it a moment ago
            if name in self._making or any(self._workspaces.has(each.id) for each in same):
                raise Conflict("you have a workspace of that name: choose another, or delete it first")
            self._making.add(name)
            try:
                return await self._make(account, order, image.content, product)
            finally:
                self._making.discard(name)

        return {"workspace_id": await self._catalog.alone(make)}

    async def _make(self, account: str, order: WorkspaceAsked, image: ImageAsked, product: Product) -> str:
        # the record comes first: a workspace that runs without one would be nobody's
        made = await self._catalog.workspaces.add(account, order, self._clock(), self._workspaces.has)
        try:
            block = workspace_block(made.id, order, image, product, self._areas, self._mounts)
            await self._workspaces.create(block)
        except BaseException:
            await self._catalog.workspaces.remove(made.id)
            raise
        return made.id

    def workspaces(self, account: str, workspace_id: str | None) -> list[dict[str, Any]]:
        """The account's workspaces, or one of them.

        :raises NotFound: it has none of that id. The client takes the first of the list without a look.
        """
        if workspace_id is None:
            return [self._row(each) for each in self._own(account)]
        return [self._row(self._one(account, workspace_id))]

    async def delete_workspace(self, account: str, workspace_id: str) -> dict[str, Any]:
        """Drain and remove a workspace.

        :raises NotFound: the account has none of that id.
        """
        self._one(account, workspace_id)
        await self._workspaces.delete(workspace_id)
        await self._catalog.workspaces.remove(workspace_id)
        return {"workspace_id": workspace_id}

    async def create_group(self, account: str, name: str) -> dict[str, Any]:
        """Make a group; the one of that name where there is one."""
        groups = self._catalog.groups

        async def keep() -> Owned[Group]:
            same = next((each for each in groups.of(account) if each.content.workspace_group_name == name), None)
            return same or await groups.add(account, Group(name), self._clock(), self._workspaces.has)

        return {"workspace_group_id": (await self._catalog.alone(keep)).id}

    def groups(self, account: str) -> list[dict[str, Any]]:
        """The account's groups."""
        return [
            {
                "id": each.id,
                "workspace_group_id": each.id,
                "workspace_group_name": each.content.workspace_group_name,
                "created_at": format_time(each.made_at, self._zone),
            }
            for each in self._catalog.groups.of(account)
        ]

    def _product(self, product_id: str) -> Product:
        found = next((each for each in self._products if each.id == product_id), None)
        if found is None:
            raise NotFound("there is no product of that id; product/list has them")
        return found

    def _own(self, account: str) -> list[Owned[WorkspaceAsked]]:
        """The account's workspaces, less those that the operator has taken away."""
        return [each for each in self._catalog.workspaces.of(account) if self._workspaces.has(each.id)]

    def _one(self, account: str, workspace_id: str) -> Owned[WorkspaceAsked]:
        found = self._catalog.workspaces.get(account, workspace_id)
        if not self._workspaces.has(workspace_id):
            raise NotFound("you have no workspace of that id")
        return found

    def _row(self, owned: Owned[WorkspaceAsked]) -> dict[str, Any]:
        order, standing = owned.content, self._workspaces.standing(owned.id)
        return {
            "id": owned.id,
            "workspace_name": order.workspace_name,
            "docker_state": int(docker_state(standing)),
            "node_list": node_rows(standing),
            "reason": standing.reason,
            "image_id": order.image_id,
            "product_id": order.product_id,
            "num": order.num,
            "area": order.area,
            "duration": order.duration,
            "duration_unit": order.duration_unit,
            "public_net": order.public_net,
            "is_group": order.is_group,
            "workspace_group_id": order.workspace_group_id,
            "created_at": format_time(owned.made_at, self._zone),
        }
