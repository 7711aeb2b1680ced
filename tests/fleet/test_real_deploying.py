"""Deploying on real engines: what comes up, how far it is told to be, and what is said when it does not come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from docker_bed import Bed
from docker_engine import SYSTEM_PATH
from docker_images import Image, archive, busybox_layer
from fleet_rig import NODES, WORKSPACE, FleetRig, eventually

Push = Callable[..., str]
Make = Callable[..., FleetRig]


def test_three_nodes_get_a_copy_each_and_tell_how_far_they_are(fleet: Make, image: Push) -> None:
    rig = fleet()
    rig.want(image("large:1", 24 << 20), replicas=3)
    rig.start()
    seen: dict[str, list[int]] = {}

    def served() -> bool:
        told = rig.nodes_of_queue()
        for node in told:
            seen.setdefault(node["nodeAddr"], []).append(node["progress"])
        return [node["status"] for node in told] == [1, 1, 1]

    eventually(served, "three nodes serve")
    assert set(seen) == set(NODES)
    for progress in seen.values():
        assert progress == sorted(progress)
        assert progress[-1] == 100
        assert any(0 < each < 100 for each in progress), "nothing was told on the way"
    found = rig.serving(3)
    assert found["state"] == "serving"
    assert {copy["node"] for copy in found["copies"]} == set(NODES)
    assert len({rig.inspect(name, "{{.Image}}") for name in rig.containers()}) == 1
    assert rig.call("hello").json()["data"] == "hello"
    labels = rig.inspect(rig.containers()[0], "{{json .Config.Labels}} {{.Name}}")
    assert WORKSPACE not in labels


def test_containers_run_on_when_the_gateway_stops_and_are_found_again(fleet: Make, image: Push) -> None:
    rig = fleet()
    rig.want(image(), replicas=3)
    rig.start()
    rig.serving(3)
    before = {name: rig.inspect(name, "{{.State.StartedAt}} {{.Id}}") for name in rig.containers()}
    rig.gateway.stop()
    assert {name: rig.inspect(name, "{{.State.StartedAt}} {{.Id}}") for name in rig.containers()} == before
    rig.start()
    rig.serving(3)
    assert {name: rig.inspect(name, "{{.State.StartedAt}} {{.Id}}") for name in rig.containers()} == before
    assert rig.call("again").json()["data"] == "again"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A folder that is served over HTTP."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    folder = tmp_path / "web"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_archive_is_loaded_from_its_url_and_is_the_same_everywhere(
    fleet: Make, image: Push, web: tuple[str, Path]
) -> None:
    url, folder = web
    (folder / "app.tar").write_bytes(archive(Image([busybox_layer()], {}, "app:tar")))
    rig = fleet()
    rig.want(image={"archive": f"{url}/app.tar"}, replicas=3)
    rig.start()
    rig.serving(3)
    assert len({rig.inspect(name, "{{.Image}}") for name in rig.containers()}) == 1
    assert rig.call("loaded").json()["data"] == "loaded"
    before = rig.containers()
    (folder / "app.tar").write_bytes(archive(Image([busybox_layer("another")], {}, "app:tar")))
    rig.restart()
    rig.serving(3)
    assert rig.containers() == before, "what is behind the URL by now does not matter until it is deployed fresh"


def test_an_archive_that_is_not_there_says_so(fleet: Make, image: Push, web: tuple[str, Path]) -> None:
    rig = fleet(1)
    rig.want(image={"archive": f"{web[0]}/nothing.tar"}, replicas=1)
    rig.start()
    eventually(lambda: any("404" in node["reason"] for node in rig.shown()["nodes"]), "the reason")
    assert rig.shown()["state"] == "failed"


def test_a_registry_that_is_down_is_waited_for(fleet: Make, image: Push, bed: Bed) -> None:
    rig = fleet(2)
    reference = image("later:1")
    bed.registry.stop()
    try:
        rig.want(reference, replicas=2)
        rig.start()
        found = eventually(lambda: (now := rig.shown())["state"] == "failed" and now, "it fails")
        assert "registry" in found["reason"], found
    finally:
        bed.registry.start(SYSTEM_PATH)
    rig.serving(2)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"image": {"reference": "{registry}/nobody:1"}}, "no image"),
        ({"command": ["/bin/nobody-has-this"]}, "exit code 127"),
        ({"gpus": {"count": 1}}, "nvidia-container-toolkit"),
        ({"gpus": {"count": 5}}, "needs 5"),
        ({"command": ["/bin/busybox", "false"]}, "exit code 1"),
        ({"command": ["/bin/busybox", "sleep", "1000"], "health": {"interval": "200ms", "grace": "1s"}}, "refused"),
    ],
    ids=["unknown image", "unknown command", "no GPU runtime", "no room", "it ends", "it does not answer"],
)
def test_what_does_not_come_up_says_why(fleet: Make, image: Push, bed: Bed, keys: dict[str, Any], told: str) -> None:
    rig = fleet(1)
    reference = image()
    wanted = {name: text.format(registry=bed.registry.host) for name, text in keys.pop("image", {}).items()}
    rig.want(reference, image=wanted, replicas=1, **keys)
    rig.start()
    try:
        found = eventually(
            lambda: told.lower() in str((now := rig.shown())["reason"]).lower() and now, f"it says {told!r}"
        )
    except AssertionError as error:
        raise AssertionError(f"{error}: {rig.shown()}") from None
    assert found["state"] == "failed"
