"""`ngpu.client`, both kinds of it, at a real gateway in front of a real worker."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Gateway, find_free_port, running

from ngpu.client import AsyncClient, Client, ClientError, Refused, StillRunning, TaskFailed, Unreachable

NODE = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQAAAAA3iMLMAAAAFElEQVR42mPkZ2BigCLGD0hsHOIAMiICGzhEDdAAAAAASUVORK5CYII="
JOB = {"prompt": "a cat", "init_images": [PICTURE]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("client")) as processes:
        worker = processes.start_worker()
        upstream = [{"node": NODE, "ports": {8080: worker.port}}]
        block = {"id": "mine", "ports": {8080: 80}, "upstream": upstream, "path": "sdapi/v1/img2img"}
        nodes = [{"address": NODE, "host": "127.0.0.1"}]
        yield processes.start_gateway({"nodes": nodes, "workspaces": [block]})


def test_a_task_from_its_submission_to_its_result(gateway: Gateway) -> None:
    with Client(gateway.url, "mine") as client:
        task = client.submit(JOB, idempotency_key="k")
        assert client.submit(JOB, idempotency_key="k").id == task.id
        assert client.wait(task).value()["images"]
        assert task.id in list(client.list())
        assert client.record(task.id)["taskid"] == task.id
        assert client.nodes()[NODE].serving
        assert client.call(JOB).value()["images"]
        assert client.raw("GET", "/", port=8080).status_code == 200


def test_a_choice_that_is_spelt_wrongly_is_not_left_out() -> None:
    """``idempotency_ky=`` made a second task."""
    wrong: Any = {"idempotency_ky": "k"}
    with Client("http://127.0.0.1:9", "mine") as client:
        for send in (client.submit, client.call):
            with pytest.raises(TypeError, match="no choice 'idempotency_ky' here; there are app, path, "):
                send(JOB, **wrong)


def test_what_does_not_finish(gateway: Gateway) -> None:
    with Client(gateway.url, "mine") as client:
        failed = client.call({})
        with pytest.raises(TaskFailed):
            failed.value()
        slow = client.submit({**JOB, "delay": 30})
        with pytest.raises(StillRunning):
            client.wait(slow, timeout=0.3)
        assert client.cancel(slow.id).status == "cancelled"
        with pytest.raises(Refused) as refused:
            client.cancel(slow.id)
        assert refused.value.status == 409
    with pytest.raises(Refused) as refused:
        Client(gateway.url, "nobody").submit(JOB)
    assert refused.value.status == 401
    with pytest.raises(Unreachable):
        Client(f"http://127.0.0.1:{find_free_port()}", retries=0).query("x")
    with pytest.raises(ClientError):
        Client("localhost:8080")


def test_waiting_for_a_gateway_that_hangs_ends_in_time() -> None:
    """It took a minute and a half."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        began = time.monotonic()
        with Client(url) as client, pytest.raises(Unreachable, match="no reply in time"):
            client.wait("20200101_nothing", timeout=1.5)

        async def waiting() -> None:
            async with AsyncClient(url) as other:
                await other.wait("20200101_nothing", timeout=1.5)

        with pytest.raises(Unreachable, match="no reply in time"):
            asyncio.run(waiting())
        assert time.monotonic() - began < 8


def test_the_same_for_asyncio(gateway: Gateway, tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncClient(gateway.url, "mine") as client:
            task = await client.submit(JOB)
            assert (await client.wait(task)).value()["images"]
            assert task.id in [each async for each in client.list()]
            assert (await client.raw("GET", "/")).status_code == 200

    asyncio.run(work())
