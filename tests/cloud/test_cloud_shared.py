"""What an account made through one gateway is there on another one, and is not made twice."""

from __future__ import annotations

import pytest
from cloud_rig import ANN, House, account, cloud_settings, done
from twisted.internet.task import Clock

from ngpu.cloud.accounts import Accounts
from ngpu.cloud.catalog import ALL
from ngpu.errors import Conflict
from ngpu.following import Following
from ngpu.settings import ScryptHash
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
