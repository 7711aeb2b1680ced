"""The published client against a real gateway, whose engines nobody answers for: what is served, to whom, and kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from cloud_rig import account
from processes import Gateway, Processes, find_free_port, running
from published_client import ClientStopped, PublishedClient

ANN, BOB = "ann@example.org", "Bob@example.org"
NODE = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
URL = "http://127.0.0.1:9/image.tar"
RUN = "docker run -itd --gpus all -p 8075:4040 -p 8076:4041 -e MODEL=small e795e95b9616 python serve.py"
SHORT = "e795e95b9616"
UNKNOWN = "123456789012345678"


def configuration(**cloud: Any) -> dict[str, Any]:
    accounts = [{"email": each.email, "password": each.password} for each in (account(ANN, "a"), account(BOB, "b"))]
    node = {
        "address": NODE,
        "host": "127.0.0.1",
        "engine": f"tcp://127.0.0.1:{find_free_port()}",
        "gpus": {"type": "RTX 3090", "count": 2, "memory": "24GiB"},
    }
    return {"nodes": [node], "egress": {"allow": ["127.0.0.0/8"]}, "cloud": {"accounts": accounts, **cloud}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("cloud")) as processes:
        yield processes.start_gateway(configuration())


@pytest.fixture
def ann(gateway: Gateway) -> PublishedClient:
    return PublishedClient(gateway.url, ANN, "a")


@pytest.fixture
def bob(gateway: Gateway) -> PublishedClient:
    return PublishedClient(gateway.url, BOB.lower(), "b")


_names = iter(range(1000))


def made(client: PublishedClient, **more: Any) -> str:
    """A workspace of the client's, by its own image."""
    image_id = client.image_create("talker", URL, RUN, SHORT)
    product_id = client.listed("product")[0]["id"]
    return client.workspace_create(f"w{next(_names)}", image_id, product_id, **more)


def refused(status: int, call: Any, *args: Any, **more: Any) -> str:
    """The client has ended with this status, and shows a sentence."""
    with pytest.raises(ClientStopped) as caught:
        call(*args, **more)
    reply = caught.value.reply
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert body["result_code"] == status and body["result"] is None
    return str(body["msg"])


def test_a_workspace_is_made_and_can_be_called_at_once(gateway: Gateway, ann: PublishedClient) -> None:
    group_id = ann.group_create("g")
    assert {"id": group_id, "workspace_group_name": "g"}.items() <= ann.group_selector()[0].items()
    assert ann.group_selector() == ann.listed("workspace/group")
    workspace_id = made(ann, num=2, is_group=True, workspace_group_id=group_id)
    assert len(workspace_id) == 18
    for header in (f"Bearer {workspace_id}", f"Bearer ngpu_{workspace_id}", workspace_id):
        url = f"{gateway.url}/user/schedulingTask?paramUrl=startSync&paramPort=8075"
        reply = requests.post(url, json={"data": "{}"}, headers={"Authorization": header}, timeout=10)
        assert (reply.status_code, reply.json()["status"]) == (200, "queued"), reply.text
    wrong_port = f"{gateway.url}/user/schedulingTask?paramPort=4040"
    reply = requests.post(wrong_port, json={"data": ""}, headers={"Authorization": workspace_id}, timeout=10)
    assert "8075, 8076" in reply.json()["msg"]
    state, shown, name = ann.dispense_status(workspace_id)
    assert (shown, name) == (workspace_id, f"w{next(_names) - 1}") and state != 4
    ann.workspace_delete(workspace_id)
    refused(404, ann.dispense_status, workspace_id)
    refused(404, ann.workspace_delete, workspace_id)
    assert (
        requests.post(url, json={"data": "{}"}, headers={"Authorization": workspace_id}, timeout=10).status_code == 401
    )


@pytest.mark.parametrize("labelled", [False, True])
def test_the_id_of_a_list_in_the_body_of_its_get(ann: PublishedClient, labelled: bool) -> None:
    ids = [made(ann), made(ann)]
    for workspace_id in ids:
        assert ann.dispense_status(workspace_id, labelled)[1] == workspace_id
        left_over = ann.order("another", UNKNOWN, "1")
        found = ann.get(f"cloud/workspace/list?id={workspace_id}", data=left_over, labelled=labelled).json()["result"]
        assert [row["id"] for row in found] == [workspace_id]
    refused(404, ann.dispense_status, UNKNOWN, labelled)
    assert set(ids) <= {row["id"] for row in ann.listed("workspace")}
    assert ann.dispense_status(None, labelled)[1] in {row["id"] for row in ann.listed("workspace")}
    twice = ann.get("cloud/workspace/list", data=f"id={ids[0]}&id={ids[1]}")
    assert twice.status_code == 400
    huge = ann.get("cloud/workspace/list", data="x" * 70_000)
    assert huge.status_code == 413 and huge.json()["result"] is None


def test_a_connection_goes_on_after_a_get_with_a_body(ann: PublishedClient) -> None:
    """The body of one is never taken for the beginning of the next request."""
    workspace_id = made(ann)
    for _ in range(3):
        assert ann.get("cloud/workspace/list", data={"id": workspace_id}).status_code == 200
        assert ann.get("cloud/product/list", data="GET / HTTP/1.1\r\n\r\n").status_code == 200


CALLS = [
    ("POST", "cloud/image/create", {"image_name": "n", "wget_url": URL, "start_cmd": RUN}),
    ("GET", "cloud/image/list", None),
    ("GET", "cloud/product/list", None),
    ("POST", "cloud/workspace/create", "order"),
    ("GET", "cloud/workspace/list", None),
    ("GET", "cloud/workspace/list?id={workspace}", None),
    ("GET", "cloud/workspace/delete/{workspace}", None),
    ("POST", "cloud/workspace/group/create", {"workspace_group_name": "matrix"}),
    ("GET", "cloud/workspace/group/list", None),
    ("GET", "cloud/workspace/group/selector", None),
]
OTHERS_SEE = {
    "cloud/image/create": 200,
    "cloud/image/list": 200,
    "cloud/product/list": 200,
    "cloud/workspace/create": 404,
    "cloud/workspace/list": 200,
    "cloud/workspace/list?id={workspace}": 404,
    "cloud/workspace/delete/{workspace}": 404,
    "cloud/workspace/group/create": 200,
    "cloud/workspace/group/list": 200,
    "cloud/workspace/group/selector": 200,
}


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a gateway, and a token that it gave out and takes no more."""
    with running(tmp_path_factory.mktemp("expired")) as processes:
        gateway = processes.start_gateway(configuration(token_ttl="4s"))
        client = PublishedClient(gateway.url, ANN, "a")
        token = client.login()
        assert client.get("cloud/image/list").status_code == 200
        deadline = time.monotonic() + 30
        while client.get("cloud/image/list").status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield gateway.url, token


MOVING = ("docker_state", "node_list", "reason")


def standing(client: PublishedClient) -> list[dict[str, Any]]:
    """All that an account has, but for how far it is, and why no further, which change by themselves."""
    listed = [each for what in ("image", "workspace", "workspace/group") for each in client.listed(what)]
    return [{name: value for name, value in each.items() if name not in MOVING} for each in listed]


@pytest.mark.parametrize("shown", ["none", "empty", "wrong", "expired", "other", "right"])
@pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=[call[1] for call in CALLS])
def test_every_call_with_every_token(
    ann: PublishedClient, bob: PublishedClient, expired: tuple[str, str], method: str, path: str, body: Any, shown: str
) -> None:
    workspace_id = made(ann)
    group_id = ann.group_create("g")
    before = standing(ann)
    if body == "order":
        image_id = ann.image_create("talker", URL, RUN, SHORT)
        body = ann.order(f"m{next(_names)}", image_id, ann.listed("product")[0]["id"], workspace_group_id=group_id)
    host, token = ann.host, ann.login()
    if shown == "expired":
        host, token = expired
    tokens = {"none": {}, "empty": {"Token": ""}, "wrong": {"Token": token[:-1] + "x"}, "other": {"Token": bob.login()}}
    headers = tokens.get(shown, {"Token": token})
    url = f"{host}/ngpu/api/v1/{path.format(workspace=workspace_id)}"
    reply = requests.request(method, url, json=body, headers=headers, timeout=30)
    status = {"right": 200, "other": OTHERS_SEE[path]}.get(shown, 401)
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json()["result_code"] == status
    if status == 401:
        assert reply.headers["WWW-Authenticate"] == 'Token realm="ngpu"'
    if status != 200:
        assert reply.json()["result"] is None and reply.json()["msg"]
    if shown == "other":
        assert workspace_id not in reply.text and group_id not in reply.text
    if shown not in ("right", "expired"):
        assert standing(ann) == before


def test_another_accounts_workspace_looks_like_none(ann: PublishedClient, bob: PublishedClient) -> None:
    workspace_id = made(ann)
    assert refused(404, bob.dispense_status, workspace_id) == refused(404, bob.dispense_status, UNKNOWN)
    assert refused(404, bob.workspace_delete, workspace_id) == refused(404, bob.workspace_delete, UNKNOWN)
    assert ann.dispense_status(workspace_id)


def test_head_deletes_nothing(ann: PublishedClient) -> None:
    workspace_id = made(ann)
    url = f"{ann.host}/ngpu/api/v1/cloud/workspace/delete/{workspace_id}"
    assert requests.head(url, headers=ann.headers(), timeout=10).status_code == 200
    assert ann.dispense_status(workspace_id)
    other = requests.post(url, headers=ann.headers(), timeout=10)
    assert (other.status_code, other.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("start", "why"),
    [
        ("docker run --privileged -p 1:1 x", "--privileged is not allowed"),
        ("docker run -v /:/host -p 1:1 x", "has not listed / in fleet.mounts"),
        ("docker run --net host x", "--network host is not allowed"),
        ("docker run --gpsu all -p 1:1 x", "did you mean --gpus?"),
    ],
)
def test_what_an_image_may_not_have_is_said_in_a_sentence(ann: PublishedClient, start: str, why: str) -> None:
    assert why in refused(400, ann.image_create, "n", URL, start, "")


def test_an_image_that_leads_into_the_operators_network_is_refused(ann: PublishedClient) -> None:
    assert "egress.allow" in refused(400, ann.image_create, "n", "http://10.0.0.1/x.tar", RUN, SHORT)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"{" * 10_000, b'{"email": 1, "password": 2}'])
def test_bodies_that_are_no_request(ann: PublishedClient, body: bytes) -> None:
    for path in ("user/login", "cloud/image/create", "cloud/workspace/create", "cloud/workspace/group/create"):
        url = f"{ann.host}/ngpu/api/v1/{path}"
        reply = requests.post(url, data=body, headers=ann.headers(), timeout=10)
        assert (reply.status_code, reply.json()["result"]) == (400, None), f"{path}: {reply.text}"


def test_wrong_logins_are_answered_alike_and_limited(processes: Processes) -> None:
    gateway = processes.start_gateway(configuration())
    told = {refused(401, PublishedClient(gateway.url, email, "wrong").login) for email in (ANN, "nobody@example.org")}
    assert len(told) == 1
    for _ in range(9):
        refused(401, PublishedClient(gateway.url, ANN, "wrong").login)
    with pytest.raises(ClientStopped) as caught:
        PublishedClient(gateway.url, ANN, "a").login()
    assert caught.value.reply.status_code == 429
    assert 1 <= int(caught.value.reply.headers["Retry-After"]) <= 30
    PublishedClient(gateway.url, BOB, "b").login()


def test_everything_is_kept_over_a_restart_and_tokens_end_with_their_account(processes: Processes) -> None:
    gateway = processes.start_gateway(configuration())
    ann, bob = PublishedClient(gateway.url, ANN, "a"), PublishedClient(gateway.url, BOB, "b")
    workspace_id, theirs = made(ann, workspace_group_id=ann.group_create("g")), made(bob)
    before = [ann.listed(what) for what in ("image", "product", "workspace/group")]
    gateway.kill9()
    gateway.start()
    assert [ann.listed(what) for what in ("image", "product", "workspace/group")] == before
    assert [row["id"] for row in ann.listed("workspace")] == [workspace_id]
    only_ann = configuration()
    only_ann["cloud"]["accounts"].pop()
    gateway.stop()
    gateway.write_config(only_ann)
    gateway.start()
    assert ann.dispense_status(workspace_id)
    refused(401, bob.listed, "workspace")
    # what the account has made goes on
    url = f"{gateway.url}/user/queryNodes"
    assert requests.get(url, headers={"Authorization": theirs}, timeout=10).status_code == 200


def test_nothing_of_it_is_served_without_an_account(processes: Processes) -> None:
    gateway = processes.start_gateway(configuration(accounts=[]))
    for method, path, _ in [*CALLS, ("POST", "user/login", None)]:
        url = f"{gateway.url}/ngpu/api/v1/{path.format(workspace=UNKNOWN)}"
        reply = requests.request(method, url, timeout=10)
        assert (reply.status_code, reply.json()["result_code"]) == (404, 404)
    assert UNKNOWN not in gateway.log.read_text()


def test_the_log_tells_no_secret(gateway: Gateway, ann: PublishedClient) -> None:
    token, workspace_id = ann.login(), made(ann)
    ann.dispense_status(workspace_id)
    ann.get(f"cloud/workspace/list?id={workspace_id}")
    ann.workspace_delete(workspace_id)
    ann.get(f"cloud/workspace/delete/{workspace_id}/")
    log = gateway.log.read_text()
    assert "/ngpu/api/v1/cloud/workspace/delete/<name>" in log
    for secret in (token, token.rpartition(".")[2], workspace_id, "0cc175b9c0f1b6a831c399e269772661", "MODEL=small"):
        assert secret not in log
