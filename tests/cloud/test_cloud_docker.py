"""The published client's whole way on a real Docker engine: from an archive's address to an answer, and away again."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from cloud_rig import account
from docker_bed import Bed
from docker_images import SERVES, Image, archive, busybox_layer
from processes import Gateway, Processes
from published_client import ClientStopped, PublishedClient

NODES = ("0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13", "0xf54B48DBD69d4f0841e458a551422Cf8eC1DEaaa")
WITHIN = 60.0


@contextmanager
def served(data: bytes) -> Iterator[str]:
    """Where these bytes can be had, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Not to the console."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/image.tar"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def image_id(tar: bytes) -> str:
    """What ``docker images`` shows for the image in an archive."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as files:
        manifest = files.extractfile("manifest.json")
        assert manifest is not None
        name: str = json.loads(manifest.read())[0]["Config"]
    return name.removesuffix(".json")[:12]


@pytest.fixture
def gateway(bed: Bed, processes: Processes) -> Gateway:
    nodes = [
        {"address": address, "host": "127.0.0.1", "engine": engine.url}
        for address, engine in zip(NODES, bed.engines, strict=False)
    ]
    return processes.start_gateway(
        {
            "nodes": nodes,
            "fleet": {"name": "cloud", "interval": "200ms"},
            "egress": {"allow": ["127.0.0.0/8"]},
            "cloud": {"accounts": [account("admin@admin.com", "111111").model_dump()]},
        }
    )


def containers(bed: Bed) -> list[str]:
    """The names of the gateway's containers on its two nodes, those that ended too."""
    listed = [each.docker("ps", "-a", "--format", "{{.Names}}") for each in bed.engines[: len(NODES)]]
    return [name for text in listed for name in text.split() if name.startswith("ngpu-cloud-")]


def eventually(holds: Any, what: str) -> None:
    deadline = time.monotonic() + WITHIN
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_from_an_archive_to_an_answer_and_away_again(bed: Bed, gateway: Gateway) -> None:
    tar = archive(Image([busybox_layer(f"cloud {time.time()}")]))
    client = PublishedClient(gateway.url)
    with served(tar) as url:
        short = image_id(tar)
        start = f"docker run -itd --rm --name talker -p 8075:8080 -e MODE=echo {short} {' '.join(SERVES)}"
        image = client.image_create("talker", url, start, short, ports="8076:8080")
        (product,) = client.listed("product")
        order = client.order("talk", image, product["id"], num=2)
        workspace_id = client.workspace_create("talk", image, product["id"], num=2)
        row = client.wait_ready(workspace_id, order)
    assert row["node_list"][0]["nodeAddr"] in NODES
    answer = requests.post(
        f"{gateway.url}/user/schedulingTask?paramUrl=cgi-bin/echo&paramPort=8076&taskMode=Sync",
        json={"btc_address": "", "data": '{"prompt":"hello"}'},
        headers={"Authorization": f"Bearer ngpu_{workspace_id}"},
        timeout=60,
    ).json()
    assert (answer["result_code"], answer["data"]) == (200, '{"prompt":"hello"}')
    eventually(lambda: len(containers(bed)) == 2, "two copies")
    config = bed.engines[0].docker("inspect", "--format", "{{json .Config.Env}}", containers(bed)[0])
    assert "MODE=echo" in json.loads(config)
    client.workspace_delete(workspace_id)
    with pytest.raises(ClientStopped):
        client.dispense_status(workspace_id)
    eventually(lambda: not containers(bed), "no container is left")


def test_an_image_that_does_not_start_says_so(bed: Bed, gateway: Gateway) -> None:
    tar = archive(Image([busybox_layer()]))
    client = PublishedClient(gateway.url)
    with served(tar) as url:
        image = client.image_create("broken", url, "docker run -p 80:8080 x /no/such/program", "")
        (product,) = client.listed("product")
        workspace_id = client.workspace_create("broken", image, product["id"])

        def reason() -> str:
            (row,) = client.get(f"cloud/workspace/list?id={workspace_id}").json()["result"]
            assert row["docker_state"] != 4
            return str(row["reason"]) + "".join(node["reason"] for node in row["node_list"])

        eventually(lambda: "the command cannot be started" in reason(), "the reason is told")
    client.workspace_delete(workspace_id)
    eventually(lambda: not containers(bed), "no container is left")
