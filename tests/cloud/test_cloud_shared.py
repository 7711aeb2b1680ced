"""What an account made through one gateway is there on another one, and is not made twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import pytest
from cloud_rig import ANN, House, Workspaces, account, cloud_settings, done
from twisted.internet.task import Clock

from ngpu.cloud.accounts import Accounts
from ngpu.cloud.catalog import ALL
from ngpu.cloud.desk import make_desk
from ngpu.errors import Conflict, StoreUnavailable
from ngpu.following import Following
from ngpu.settings import ScryptHash
from ngpu.sharing import ALONE
from ngpu.testing.sharing import Hall


def test_an_image_that_one_gateway_keeps_can_be_ordered_of_another_at_once() -> None:
    first = House()
    second = first.restart()
    image_id, group = first.image(), first.group("g")
    assert second.image() == image_id and second.group("g") == group, "the same is kept once"
    workspace_id = second.order(image_id=image_id, workspace_group_id=group, is_group=True)
    with pytest.raises(Conflict, match="of that name"):
        first.order(image_id=image_id)
    assert [each["id"] for each in first.counter.workspaces(ANN, None)] == [workspace_id]


class Behind(Workspaces):
    """Those of another gateway too, as they were at the last look."""

    def __init__(self, others: Workspaces) -> None:
        super().__init__()
        self.blocks = others.blocks
        self.seen: set[str] = set()

    async def look(self) -> None:
        self.seen = set(self.blocks)

    def has(self, workspace_id: str) -> bool:
        return workspace_id in self.seen


def test_all_take_the_same_tokens_where_the_store_has_forgotten_what_they_are_made_with() -> None:
    urls: Any = None
    settings: Any = SimpleNamespace(
        cloud=cloud_settings(account(ANN, "x")), nodes=(), fleet=SimpleNamespace(mounts=()), zone=ZoneInfo("UTC")
    )
    house, hall, clock, desks = House(), Hall(), Clock(), []

    def start() -> None:
        store: Any = SimpleNamespace(documents=house.documents, news=hall.join(), exclusively=ALONE.exclusively)
        desk = make_desk(settings, store, house.workspaces, urls, clock)
        assert desk is not None
        done(desk.open())
        desks.append(desk)

    start()
    start()
    done(house.documents.delete("cloud_secrets", "tokens"))
    start()
    clock.pump([0.1] * 100)
    (secret,) = {desk.accounts._secret for desk in desks}
    done(house.documents.delete("cloud_secrets", "tokens"))
    clock.pump([0.1] * 100)
    start()
    assert desks[-1].accounts._secret == secret, "nobody has to log in again"
    for desk in desks:
        desk.close()


def test_a_name_that_another_gateway_gave_a_moment_ago_is_taken() -> None:
    """Though nothing was heard of its workspace yet."""
    first = House()
    second = House(first.documents, Behind(first.workspaces))
    workspace_id = first.order()
    assert not second.workspaces.has(workspace_id)
    with pytest.raises(Conflict, match="of that name"):
        second.order()
    done(first.counter.delete_workspace(ANN, workspace_id))
    assert second.order()


def test_a_start_does_not_need_the_turn_of_a_gateway_that_was_killed() -> None:
    """Which ends by itself, but later than a start may wait."""
    house = House()
    whole, half = house.order(), house.order(workspace_name="half")
    del house.workspaces.blocks[half]
    turns: list[str] = []

    async def not_in_time(name: str, work: object) -> NoReturn:
        turns.append(name)
        raise StoreUnavailable("another gateway is at it already")

    later = house.restart(not_in_time)
    assert [each["id"] for each in later.counter.workspaces(ANN, None)] == [whole]
    assert turns == ["cloud"]
    assert half in house.documents.kept["cloud_workspaces"]
    house.restart()
    assert list(house.documents.kept["cloud_workspaces"]) == [whole]
    house.restart(not_in_time)
    assert turns == ["cloud"], "nothing is to be forgotten"
    for exclusively in (ALONE.exclusively, not_in_time):
        accounts = Accounts(
            cloud_settings(account(ANN, "x")), house.documents, lambda: 1.0, lambda *_: done_check(), exclusively
        )
        done(accounts.open())
    assert turns == ["cloud"], "nor is there a secret to be made"


async def done_check() -> bool:
    return True


def test_what_others_make_and_remove_is_followed() -> None:
    first = House()
    second, gateway, clock = first.restart(), Hall().join(), Clock()
    following = Following(gateway, sorted(ALL), second.counter.follow, clock)
    following.start()
    clock.advance(0.1)
    workspace_id = first.order()
    assert second.counter.workspaces(ANN, None) == []
    gateway.told("documents:cloud_workspaces", "")
    clock.advance(0.1)
    assert [each["id"] for each in second.counter.workspaces(ANN, None)] == [workspace_id]
    assert second.counter.images(ANN) == [], "nothing was said of these"
    clock.advance(5)
    assert len(second.counter.images(ANN)) == 1, "and yet it has looked"
    done(first.counter.delete_workspace(ANN, workspace_id))
    gateway.away = True
    gateway.away = False
    clock.advance(0.1)
    assert second.counter.workspaces(ANN, None) == []
    following.stop()
    assert clock.getDelayedCalls() == []


def test_a_token_of_one_gateway_opens_the_account_on_another() -> None:
    house = House()
    ann = account(ANN, "x")

    async def right(sent: str, kept: ScryptHash) -> bool:
        return True

    gateways = [Accounts(cloud_settings(ann), house.documents, lambda: house.now, right) for _ in range(2)]
    for each in gateways:
        done(each.open())
    token = done(gateways[0].login(ANN, "sent", "192.0.2.1"))
    assert gateways[1].open_token(token).key == ann.key
