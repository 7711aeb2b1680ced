"""A gateway over real engines: its process, its configuration, and what its operator sees of it."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar

import requests
from docker_bed import Bed
from docker_images import SERVES
from processes import Gateway, Processes, running

T = TypeVar("T")
NODES = (
    "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13",
    "0xf54B48DBD69d4f0841e458a551422Cf8eC1DEaaa",
    "0xCac10F51814E8e425a6877951fecb7746161c669",
)
WORKSPACE = "367614711220405248"
PORT = 8080
FLEET = "e2e"


def eventually(true: Callable[[], T], what: str, within: float = 30.0) -> T:
    """What ``true`` gives once it is something."""
    deadline = time.monotonic() + within
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.05)
    return found


class FleetRig:
    """A gateway whose nodes are the engines of a bed."""

    def __init__(self, bed: Bed, processes: Processes, nodes: int, fleet: str = FLEET, **keys: Any) -> None:
        self.bed = bed
        self.fleet = fleet
        self.gpu = "X"
        self.interval = "500ms"
        self._nodes = nodes
        self._keys = keys
        self._processes = processes
        self.workspaces: dict[str, dict[str, Any]] = {}
        self.gateway: Gateway = None  # type: ignore[assignment]

    def configuration(self) -> dict[str, Any]:
        nodes = [
            {
                "address": NODES[index],
                "host": engine.host,
                "engine": engine.url,
                "engine_options": {"timeout": "3s"},
                "gpus": {"type": self.gpu, "count": 4},
            }
            for index, engine in enumerate(self.bed.engines[: self._nodes])
        ]
        fleet = {"name": self.fleet, "interval": self.interval}
        more = {"node_grace": "3s", "egress": {"allow": ["127.0.0.0/8"]}, **self._keys}
        return {"nodes": nodes, "fleet": fleet, "workspaces": list(self.workspaces.values()), **more}

    def want(self, reference: str | None = None, id: str = WORKSPACE, **keys: Any) -> None:
        """A workspace of the configuration file; it holds from the gateway's next start on."""
        image = keys.pop("image", None) or {"reference": reference}
        self.workspaces[id] = {
            "id": id,
            "name": "app",
            "image": image,
            "command": list(SERVES),
            "ports": {PORT: 8080},
            "gpus": {"count": 0},
            "slots": 8,
            "container": {"stop_grace": "1s"},
            "health": {"interval": "200ms", "timeout": "2s", "grace": "5s"},
            **keys,
        }

    def start(self) -> None:
        """Start the gateway with what is wanted."""
        if self.gateway is None:
            self.gateway = self._processes.start_gateway(self.configuration())
        else:
            self.gateway.write_config(self.configuration())
            self.gateway.start()

    def restart(self) -> None:
        """Stop the gateway, and start it with what is wanted by now."""
        self.gateway.stop()
        self.start()

    # ---- what its operator asks

    def metrics(self) -> str:
        token = (self.gateway.config_file.parent / "var/admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{self.gateway.admin}/metrics", headers=headers, timeout=10).text

    def admin(self, method: str, path: str, **more: Any) -> requests.Response:
        token = (self.gateway.config_file.parent / "var/admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(method, f"{self.gateway.admin}/api/v1{path}", headers=headers, timeout=20, **more)

    def shown(self, id: str = WORKSPACE) -> dict[str, Any]:
        reply = self.admin("GET", f"/workspaces/{id}")
        assert reply.status_code == 200, reply.text
        workspace: dict[str, Any] = reply.json()["workspace"]
        return workspace

    def put(self, id: str = WORKSPACE, **keys: Any) -> None:
        """Make or change a workspace at run time."""
        settings = {**self.workspaces[id], **keys}
        self.workspaces[id] = settings
        known = self.admin("GET", f"/workspaces/{id}").status_code == 200
        method, path = ("PUT", f"/workspaces/{id}") if known else ("POST", "/workspaces")
        reply = self.admin(method, path, json=settings)
        assert reply.status_code in (200, 201), reply.text

    def serving(self, count: int, id: str = WORKSPACE, within: float = 40.0) -> dict[str, Any]:
        """The workspace, once so many copies of it serve, and nothing else is left of it."""

        def look() -> dict[str, Any] | None:
            found = self.shown(id)
            return found if found["serving"] == count == len(found["copies"]) else None

        try:
            return eventually(look, f"{count} copies serve", within)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.shown(id)}\n{self.gateway.tail()}") from None

    # ---- what is there

    def containers(self, index: int | None = None, id: str = WORKSPACE) -> list[str]:
        """Names of this fleet's containers of a workspace, on one engine or on all that answer."""
        digest = hashlib.sha256(id.encode()).hexdigest()[:16]
        chosen = self.bed.engines[: self._nodes] if index is None else [self.bed.engines[index]]
        found = []
        for engine in chosen:
            if engine.answers():
                listed = engine.containers(f"ngpu.fleet={self.fleet}", f"ngpu.workspace={digest}")
                found += [each["Names"][0].removeprefix("/") for each in listed]
        return found

    def by_node(self) -> Mapping[int, list[str]]:
        return {index: self.containers(index) for index in range(self._nodes)}

    def inspect(self, name: str, what: str) -> str:
        for index in range(self._nodes):
            if name in self.containers(index):
                return self.bed.engines[index].docker("inspect", "--format", what, name).strip()
        raise AssertionError(f"there is no {name}")

    def clean(self) -> None:
        """Remove the fleet's containers."""
        for index, engine in enumerate(self.bed.engines[: self._nodes]):
            names = [each["Id"] for each in engine.containers(f"ngpu.fleet={self.fleet}")]
            if names:
                self.bed.engines[index].docker("rm", "-f", "-v", *names)

    # ---- its customers

    def call(
        self, data: str = "x", id: str = WORKSPACE, timeout: float = 30.0, page: str = "cgi-bin/echo"
    ) -> requests.Response:
        """A call that waits for its result."""
        params = {"paramUrl": page, "taskMode": "Sync"}
        return requests.post(
            f"{self.gateway.url}/user/schedulingTask",
            params=params,
            json={"data": data},
            headers={"Authorization": id},
            timeout=timeout,
        )

    def nodes_of_queue(self, id: str = WORKSPACE) -> list[dict[str, Any]]:
        reply = requests.get(f"{self.gateway.url}/user/queryNodes", headers={"Authorization": id}, timeout=10)
        assert reply.status_code == 200, reply.text
        nodes: list[dict[str, Any]] = reply.json()["nodes"]
        return nodes


class Load:
    """Customers that call one after another as long as the block lasts; ``answers`` counts what they got."""

    def __init__(self, rig: FleetRig, customers: int = 4, pause: float = 0.02, id: str = WORKSPACE) -> None:
        self.answers: Counter[str] = Counter()
        self._rig = rig
        self._id = id
        self._pause = pause
        self._over = Event()
        self._threads = [Thread(target=self._customer, args=(number,), daemon=True) for number in range(customers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(40)

    def _customer(self, number: int) -> None:
        count = 0
        while not self._over.is_set():
            data = f"{number} {count}"
            count += 1
            try:
                reply = self._rig.call(data, self._id)
            except requests.RequestException as error:
                self.answers[type(error).__name__] += 1
            else:
                right = reply.status_code == 200 and reply.json()["data"] == data
                self.answers["right" if right else f"{reply.status_code}: {reply.text[:300]}"] += 1
            time.sleep(self._pause)

    @property
    def wrong(self) -> dict[str, int]:
        return {answer: count for answer, count in self.answers.items() if answer != "right"}


@contextmanager
def fleet_rig(bed: Bed, folder: Path, nodes: int = 3, **keys: Any) -> Iterator[FleetRig]:
    """A rig whose gateway and containers end with the block."""
    with running(folder) as processes:
        rig = FleetRig(bed, processes, nodes, **keys)
        try:
            yield rig
        finally:
            if rig.gateway is not None:
                rig.gateway.kill9()
            for engine in bed.engines[:nodes]:
                if not engine.answers():
                    engine.kill()
                    engine.start()
            rig.clean()
