"""Images, products, workspaces and groups: what the accounts make, what each sees, and what a crash leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud_rig import ANN, BOB, NODES, RUN, URL, House, done
from hypothesis import given, settings
from hypothesis import strategies as st

from ngpu.cloud.asked import (
    ImageAsked,
    WorkspaceAsked,
    listed_id,
    read_group,
    read_image,
    read_login,
    read_workspace,
)
from ngpu.cloud.counter import Counter
from ngpu.cloud.standing import DockerState, NodeStanding, Standing, docker_state, node_rows
from ngpu.errors import BadRequest, Conflict, NgpuError, NotFound, StoreUnavailable
from ngpu.settings import Workspace, loads


def configured(block: Mapping[str, Any]) -> Workspace:
    """What the configuration makes of a block that has travelled as JSON."""
    text = NODES + yaml.safe_dump({"workspaces": [json.loads(json.dumps(block))]}, sort_keys=False)
    (made,) = loads(text, "f", Path("/")).settings.workspaces
    return made


def test_products_are_the_kinds_of_gpu_that_can_be_deployed_to() -> None:
    listed = House().counter.products()
    assert [each["product_name"] for each in listed] == ["A100 80G", "RTX 3090 24G", "CPU"]
    row = listed[1]
    assert (row["gpu_name"], row["video_memory"], row["hour_price"]) == ("RTX 3090", 24, 0)
    assert (row["gpu_type"], row["gpu_model"], row["area"]) == ("RTX", "3090", "eu")
    assert row["description"] == "2 machines with 4 GPUs at most"
    assert [each["id"] for each in listed] == [each["id"] for each in House().counter.products()], "they stay"
    assert len({each["id"] for each in listed}) == 3


def test_a_workspace_is_what_an_operator_would_have_written() -> None:
    house = House()
    workspace_id = house.order(num=3, area="eu")
    block = house.workspaces.blocks[workspace_id]
    assert len(workspace_id) == 18 and workspace_id.isdigit()
    assert block["ports"] == {8075: 4040, 8076: 4041}
    made = configured(block)
    assert (made.id, made.name, made.replicas) == (workspace_id, "w", 3)
    assert made.image is not None and made.image.archive == URL
    assert made.command == ("python", "serve.py") and dict(made.env) == {"A": "b"}
    assert (made.gpus.type, made.gpus.count, made.gpus.memory) == ("RTX 3090", 1, 24 << 30)
    assert dict(made.placement.labels) == {"area": "eu"}
    assert made.keys == (), "the id is the credential"


def test_a_start_cmd_with_everything_in_it_makes_a_workspace_too() -> None:
    house = House()
    run = (
        "docker run --gpus device=0,1 -p 1:2 -m 8g --shm-size 1g --pids-limit 9 -u 1 --read-only --tmpfs /t "
        "--stop-timeout 3 -v /srv/models:/models x:1"
    )
    workspace_id = house.order(image_id=house.image(start_cmd=run, port_mapping="80:81,1:2"))
    block = json.loads(json.dumps(house.workspaces.blocks[workspace_id]))
    (made,) = loads(
        NODES + yaml.safe_dump({"workspaces": [block]}, sort_keys=False), "f", Path("/")
    ).settings.workspaces
    container = made.container
    assert (made.gpus.count, dict(made.ports)) == (2, {1: 2, 80: 81})
    assert (container.memory, container.shm, container.pids, container.user) == (8 << 30, 1 << 30, 9, "1")
    assert (container.read_only, container.tmpfs, container.stop_grace) == (True, ("/t",), 3.0)
    assert [(each.source, each.target, each.read_only) for each in container.mounts] == [
        ("/srv/models", "/models", True)
    ]


def test_an_image_without_gpus_goes_anywhere() -> None:
    house = House()
    without = house.image(start_cmd="docker run -p 80:80 x")
    for name, product in (("a", "CPU"), ("b", "A100 80G")):
        workspace_id = house.order(image_id=without, product_id=house.product(product), workspace_name=name)
        assert house.workspaces.blocks[workspace_id]["gpus"] == {"count": 0}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"start_cmd": "docker run --privileged x"}, "no privileges"),
        ({"start_cmd": "docker run x", "port_mapping": ""}, "no port is declared"),
        ({"port_mapping": "8075:1"}, "port 8075 leads both"),
        ({"port_mapping": "x"}, "port_mapping"),
        ({"wget_url": "ftp://x/y"}, "wget_url must be"),
        ({"wget_url": "http://127.0.0.1/x.tar"}, "not on the public internet"),
        ({"wget_url": "http://169.254.169.254/latest"}, "not on the public internet"),
        ({"wget_url": "http://nowhere.invalid/x.tar"}, "cannot be found"),
        ({"docker_image_id": "021283c8eb95"}, "another image than docker_image_id"),
    ],
)  # fmt: skip
def test_an_image_that_could_not_be_deployed_is_refused_when_it_is_made(more: dict[str, Any], why: str) -> None:
    house = House()
    with pytest.raises(BadRequest, match=why):
        house.image(**more)
    assert house.counter.images(ANN) == []
    assert house.documents.kept == {}


def test_ids_of_images_compare_as_docker_does() -> None:
    house = House()
    for named, given_ in (
        ("e795e95b9616", "sha256:e795e95b9616" + "0" * 52),
        ("name:1", "e795e95b9616"),
        ("e795e95b9616", ""),
    ):
        house.image(start_cmd=f"docker run -p 1:1 {named}", docker_image_id=given_)


@pytest.mark.parametrize(
    ("more", "error", "why"),
    [
        ({"image_id": "123456789012345678"}, NotFound, "no image of that id"),
        ({"product_id": "1"}, NotFound, "no product of that id"),
        ({"workspace_group_id": "group_id"}, NotFound, "no group of that id"),
        ({"is_group": True}, BadRequest, "workspace_group_id is missing"),
        ({"area": "mars"}, BadRequest, r"there are \*, eu, us"),
    ],
)
def test_an_order_that_cannot_be_met_makes_nothing(more: dict[str, Any], error: type[NgpuError], why: str) -> None:
    house = House()
    with pytest.raises(error, match=why):
        house.order(**more)
    assert house.workspaces.blocks == {}
    assert house.counter.workspaces(ANN, None) == []
    assert not house.documents.kept.get("cloud_workspaces")


def test_more_gpus_than_the_product_has_are_refused() -> None:
    house = House()
    many = house.image(start_cmd="docker run --gpus 3 -p 1:1 x")
    house.order(image_id=many)
    for name, why in (("A100 80G", "at most 1"), ("CPU", "none")):
        with pytest.raises(BadRequest, match=why):
            house.order(image_id=many, product_id=house.product(name), workspace_name=name)


def test_a_workspace_that_the_gateway_refuses_leaves_nothing() -> None:
    house = House()
    house.workspaces.refusing = "workspaces[0].ports: no"
    with pytest.raises(BadRequest, match="ports: no"):
        house.order()
    assert not house.documents.kept["cloud_workspaces"]
    house.workspaces.refusing = ""
    house.order()


def test_a_store_that_cannot_write_leaves_nothing_half_made() -> None:
    house = House()
    image_id = house.image()
    house.documents.refusing = "the disk is full"
    with pytest.raises(StoreUnavailable):
        house.order(image_id=image_id)
    with pytest.raises(StoreUnavailable):
        house.group()
    assert house.workspaces.blocks == {}
    house.documents.refusing = ""
    house.order(image_id=image_id)
    assert len(house.counter.workspaces(ANN, None)) == 1
    assert house.counter.groups(ANN) == []


def test_each_account_sees_its_own() -> None:
    house = House()
    mine = house.order(workspace_group_id=house.group())
    assert house.counter.images(BOB) == house.counter.workspaces(BOB, None) == house.counter.groups(BOB) == []
    told = set()
    for workspace_id in (mine, "123456789012345678", "", "../x"):
        with pytest.raises(NotFound) as listing:
            house.counter.workspaces(BOB, workspace_id)
        with pytest.raises(NotFound) as deleting:
            done(house.counter.delete_workspace(BOB, workspace_id))
        told |= {str(listing.value), str(deleting.value)}
    assert told == {"you have no workspace of that id"}
    (image_id,) = [each["id"] for each in house.counter.images(ANN)]
    (group_id,) = [each["id"] for each in house.counter.groups(ANN)]
    for more in ({"image_id": image_id}, {"workspace_group_id": group_id}):
        with pytest.raises(NotFound):
            house.order(BOB, **more)
    assert house.workspaces.has(mine)


def test_everything_is_there_after_a_restart() -> None:
    house = House()
    house.order(workspace_group_id=house.group(), duration=2, duration_unit="week", num=2)
    again = house.restart()
    for ask in (Counter.images, Counter.groups, lambda counter, who: counter.workspaces(who, None)):
        assert ask(again.counter, ANN) == ask(house.counter, ANN) != []
    assert again.counter.workspaces(ANN, None)[0]["duration_unit"] == "week"


def test_what_a_crash_cut_short_is_forgotten_at_the_next_start() -> None:
    """The record comes before the workspace, and goes after it: what is left of either is a record alone."""
    house = House()
    workspace_id = house.order()
    del house.workspaces.blocks[workspace_id]
    again = house.restart()
    assert again.counter.workspaces(ANN, None) == []
    assert not house.documents.kept["cloud_workspaces"]


def test_a_workspace_that_the_operator_took_away_is_gone() -> None:
    house = House()
    workspace_id = house.order()
    del house.workspaces.blocks[workspace_id]
    assert house.counter.workspaces(ANN, None) == []
    with pytest.raises(NotFound):
        house.counter.workspaces(ANN, workspace_id)
    house.order()


def test_the_same_image_or_group_again_is_the_same_one_and_a_workspace_is_refused() -> None:
    """Clients try again when a reply was lost."""
    house = House()
    assert house.image() == house.image() != house.image(note="another")
    assert house.image(BOB) != house.image()
    assert house.group() == house.group() != house.group("h")
    workspace_id = house.order()
    with pytest.raises(Conflict):
        house.order()
    house.order(BOB)
    done(house.counter.delete_workspace(ANN, workspace_id))
    house.order()


def test_ready_is_when_the_first_of_the_list_serves() -> None:
    waiting, loading = Standing(), Standing([NodeStanding("0xA", 40, False)])
    starting = Standing([NodeStanding("0xA", 100, False), NodeStanding("0xB", 20, False)])
    ready = Standing([NodeStanding("0xA", 30, False, "pulls"), NodeStanding("0xB", 90, True)])
    failed = Standing([NodeStanding("0xA", 100, False)], ended=True, reason="it exits at once")
    states = [docker_state(each) for each in (waiting, loading, starting, ready, failed)]
    assert states == [DockerState.WAITING, DockerState.LOADING, DockerState.STARTING, 4, DockerState.FAILED]
    assert [row["rStatus"] for row in node_rows(ready)] == [1, 0]
    assert node_rows(ready)[0] == {"nodeAddr": "0xB", "rStatus": 1, "progress": 100, "reason": ""}
    house = House()
    workspace_id = house.order()
    assert house.counter.workspaces(ANN, workspace_id)[0]["docker_state"] == 1
    house.workspaces.standings[workspace_id] = ready
    (row,) = house.counter.workspaces(ANN, workspace_id)
    assert row["docker_state"] == 4 and row["node_list"][0]["rStatus"] == 1


@pytest.mark.parametrize(
    ("query", "body", "expected"),
    [
        ("1", b"", "1"),
        (None, b"", None),
        (None, b"id=352004784519119872", "352004784519119872"),
        (None, b"other=1&id=2", "2"),
        (None, b'{"id": "3"}', "3"),
        (None, b' {"id": 352004784519119872}', "352004784519119872"),
        (None, b'{"id": null}', None),
        (None, b"workspace_name=w&num=1&image_id=5&is_group=False", None),
        ("9", b"workspace_name=w&num=1&id=5", "9"),
        (None, b"id=", None),
    ],
)
def test_which_workspace_a_list_is_about(query: str | None, body: bytes, expected: str | None) -> None:
    assert listed_id(query, body) == expected


@pytest.mark.parametrize("body", [b"\xff", b"id=1&id=2", b"{", b'{"id": []}', b"a=1&" * 200, b"id=%ff"])
def test_a_list_whose_body_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        listed_id(None, body)


def test_what_published_clients_send_is_read() -> None:
    """Numbers as texts and texts as numbers, null for what was left out, and members that we know nothing of."""
    asked = read_workspace(
        json.dumps({
            "workspace_name": "demo", "area": "*", "duration": "1", "duration_unit": "week", "public_net": 1, "num": 1,
            "image_id": 352004784519119872, "product_id": "10", "is_group": False, "workspace_group_id": None, "x": [1],
        }).encode()
    )  # fmt: skip
    assert (asked.image_id, asked.product_id, asked.duration, asked.workspace_group_id) == (
        "352004784519119872",
        "10",
        1,
        "",
    )
    left_out = {"note": None, "port_mapping": None, "file_size": 0, "file_path": ""}
    made = read_image(json.dumps({"image_name": "n", "wget_url": URL, "start_cmd": RUN, **left_out}).encode())
    assert (made.note, made.port_mapping, made.exception) == ("", "", 1)
    assert read_group(b'{"workspace_group_name": " g "}') == "g"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"workspace_name": ""}, "workspace_name is missing"),
        ({"workspace_name": 5}, "workspace_name must be a text"),
        ({"workspace_name": "x" * 201}, "may have 200"),
        ({"workspace_name": "a\x00b"}, "characters that are no text"),
        ({"workspace_name": "\ud800"}, "characters that are no text"),
        ({"image_id": ""}, "image_id is missing"),
        ({"image_id": "a b"}, "image_id is no id"),
        ({"image_id": 1.5}, "image_id must be a text"),
        ({"num": 0}, "num must be a whole number from 1"),
        ({"num": True}, "num must be"),
        ({"num": 10**30}, "num must be"),
        ({"num": 1.0}, "num must be"),
        ({"duration": -1}, "duration must be"),
        ({"duration_unit": "year"}, "hr, week, month"),
        ({"is_group": "perhaps"}, "true or false"),
        ({"is_group": [1]}, "true or false"),
    ],
)
def test_an_order_that_cannot_be_read_is_refused(fields: dict[str, Any], why: str) -> None:
    whole = {"workspace_name": "w", "image_id": "1", "product_id": "1", **fields}
    with pytest.raises(BadRequest, match=why):
        read_workspace(json.dumps(whole).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([*ImageAsked.__slots__, *WorkspaceAsked.__slots__, "email", "password", "id"])


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(NAMES, JSON, max_size=12).map(json.dumps).map(str.encode) | st.binary(max_size=40))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    for read in (read_login, read_image, read_workspace, read_group, lambda each: listed_id(None, each)):
        try:
            read(body)
        except BadRequest as error:
            assert str(error)
