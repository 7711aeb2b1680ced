"""The calls that can be copied out of the documents work: each command and each program, against a real gateway."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import yaml
from cloud_rig import account
from described import FILE, METHODS
from processes import ROOT, Gateway, find_free_port, running

from ngpu.http.pages.documents import as_json

ID = "367614711220405248"
NODE = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQAAAAA3iMLMAAAAFElEQVR42mPkZ2BigCLGD0hsHOIAMiICGzhEDdAAAAAASUVORK5CYII="
PASSWORD = "4a8a08f09d37b73795649038408b5f33"
FILES = (FILE, ROOT / "docs/openapi-admin.yaml")
SAMPLES = {
    told["operationId"]: (method, {each["label"]: each["source"] for each in told["x-codeSamples"]})
    for file in FILES
    for item in json.loads(as_json(file))["paths"].values()
    for method, told in item.items()
    if method != "parameters" and "x-codeSamples" in told
}
STATES = {
    "cancelTask": "running",
    "retryTask": "failed",
    **dict.fromkeys(("queryApp", "queryTask", "queryTaskStream", "getDetailed", "getTask", "showTask"), "finished"),
}
"""How the task stands that a call is about; the calls of both documents have different names or the same needs."""

ANSWERED_OTHERWISE = {
    "logs",
    "logIn",
    "deployWorkspace",
    *(call for call in SAMPLES if call.startswith("raw") and call[-3:] not in ("Get", "ead", "ost")),
}
"""No engine answers here that could print anything or ask a registry, and the demo worker has few methods. The login
has no place for the real token."""

ENDLESS = {"live"}
"""What goes on until somebody has seen enough."""

MADE = "367614711220405249"
"""The workspace of the document's example."""


class Customer:
    """Does by other means what a sample takes for granted."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.token = (gateway.config_file.parent / "var/admin.token").read_text().strip()
        login = {"email": "someone@example.org", "password": PASSWORD}
        url = gateway.url + "/ngpu/api/v1"
        self.cloud_token = self._ask("POST", f"{url}/user/login", json=login)["result"]["token"]
        products = self._ask("GET", f"{url}/cloud/product/list", headers={"Token": self.cloud_token})
        self.product = products["result"][0]["id"]

    def task(self, state: str) -> str:
        """A task that runs, has failed or has finished."""
        data = {
            "running": {"delay": 30, "init_images": [PICTURE]},
            "failed": {},
            "finished": {"init_images": [PICTURE]},
        }
        headers = {"Authorization": ID, **({} if state == "running" else {"Prefer": "wait=20"})}
        url = self.gateway.url + "/user/schedulingTask"
        return str(self._ask("POST", url, json={"data": data[state]}, headers=headers)["taskID"])

    def image(self) -> str:
        """Of the published client."""
        start = "docker run -p 80:80 x"
        made = self.cloud("image/create", image_name="n", wget_url="http://127.0.0.1:9/x", start_cmd=start)
        return str(made["image_id"])

    def rename(self) -> None:
        """Nobody has a workspace of the example's name after this."""
        url, headers = f"{self.gateway.url}/ngpu/api/v1/cloud/workspace", {"Token": self.cloud_token}
        for each in self._ask("GET", f"{url}/list", headers=headers)["result"]:
            if each["workspace_name"] == "talker":
                self._ask("GET", f"{url}/delete/{each['id']}", headers=headers)

    def cloud(self, path: str, **body: Any) -> dict[str, Any]:
        url = f"{self.gateway.url}/ngpu/api/v1/cloud/{path}"
        return dict(self._ask("POST", url, json=body, headers={"Token": self.cloud_token})["result"])

    def admin(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.request(method, f"{self.gateway.admin}/api/v1/{path}", headers=headers, timeout=30, **more)

    def addressed(self, source: str, values: dict[str, str]) -> str:
        """A sample for this gateway, with the ids that it has given."""
        source = source.replace("http://127.0.0.1:8080", self.gateway.url)
        source = source.replace("http://127.0.0.1:8081", self.gateway.admin)
        source = source.replace("https://example.org", "http://127.0.0.1:9")
        if "IMAGE" in values:
            source = source.replace(ID, values["IMAGE"])
            source = re.sub(r"(product_id.: )1", rf"\g<1>{self.product}", source)
        return source

    def _ask(self, method: str, url: str, **more: Any) -> Any:
        reply = requests.request(method, url, timeout=60, **more)
        assert reply.ok, reply.text
        return reply.json()


@pytest.fixture(scope="module")
def customer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    with running(tmp_path_factory.mktemp("samples")) as processes:
        worker = processes.start_worker("--slots", "2")
        config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
        del config["listen"], config["admin"], config["store"]
        config["nodes"].append(
            {"address": "0xA1", "host": "127.0.0.1", "engine": f"tcp://127.0.0.1:{find_free_port()}"}
        )
        config["workspaces"][0]["upstream"][0]["ports"] = {8080: worker.port}
        config["workspaces"][0]["slots"] = 2
        config["egress"] = {"allow": ["127.0.0.0/8"]}
        config["cloud"] = {"accounts": [account("someone@example.org", "c").model_dump()]}
        yield Customer(processes.start_gateway(config))


def prepared(customer: Customer, call: str) -> dict[str, str]:
    """The environment of a sample, and a gateway on which it can work."""
    values = {"KEY": ID, "NODE": NODE, "TOKEN": customer.token, "WORKSPACE": MADE, "REPLICA": "x"}
    if call in ("drainNode", "undrainNode"):
        values["NODE"] = "0xA1"
    if call.startswith("cloud"):
        values["TOKEN"] = customer.cloud_token
    if state := STATES.get(call):
        values["TASK"] = customer.task(state)
    if call == "series":
        values["WORKSPACE"] = ID
    if call.endswith("Workspace") and not call.startswith("cloud"):
        customer.admin("DELETE", f"workspaces/{MADE}")
        if call != "createWorkspace":
            image = {"image": {"reference": "x:1"}, "replicas": 1}
            assert customer.admin("POST", "workspaces", json={"id": MADE, "ports": {"8080": 80}, **image}).ok
    if call in ("cloudCreateWorkspace", "cloudDeleteWorkspace"):
        values["IMAGE"] = customer.image()
        if call == "cloudDeleteWorkspace":
            order = {"workspace_name": "gone", "image_id": values["IMAGE"], "product_id": customer.product}
            values["WORKSPACE"] = customer.cloud("workspace/create", **order)["workspace_id"]
        else:
            customer.rename()
    return values


def begun(label: str, source: str, env: dict[str, str]) -> bytes:
    """What a sample without an end prints first."""
    command = ["bash", "-euc", source] if label == "curl" else [sys.executable, "-uc", source]
    env = {"PATH": os.environ["PATH"], **env}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        os.killpg(process.pid, signal.SIGKILL)
    return b"".join(lines)


def test_every_call_can_be_copied_but_those_that_nobody_makes_by_hand() -> None:
    documents = [yaml.safe_load(file.read_text("utf-8")) for file in FILES]
    calls = [
        item[method] for each in documents for item in each["paths"].values() for method in METHODS if method in item
    ]
    without = {told["operationId"] for told in calls} - SAMPLES.keys()
    assert without == {"media", "reference", "adminReference", "playground", "pageFile", "logIn", "logOut"}


@pytest.mark.parametrize("call", SAMPLES)
def test_a_sample_does_what_it_says(call: str, customer: Customer, tmp_path: Path, monkeypatch: Any) -> None:
    method, sources = SAMPLES[call]
    (tmp_path / ".curlrc").write_text("" if call in ANSWERED_OTHERWISE else "fail-with-body\n")
    for label in ("curl", "Python"):
        values = prepared(customer, call)
        source = customer.addressed(sources[label], values)
        if call in ENDLESS:
            assert b"event:" in begun(label, source, values)
            continue
        if label == "curl":
            env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **values}
            command = ["bash", "-euc", source]
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, f"{source}\n{done.stdout}{done.stderr}"
            printed = done.stdout
        else:
            for name, value in values.items():
                monkeypatch.setenv(name, value)
            with contextlib.redirect_stdout(io.StringIO()) as out:
                if call in ANSWERED_OTHERWISE and not call.startswith("raw"):
                    with pytest.raises(httpx.HTTPStatusError):
                        exec(compile(source, call, "exec"), {})
                    continue
                exec(compile(source, call, "exec"), {})
            printed = out.getvalue()
        assert printed.strip() or method == "delete" or call in ANSWERED_OTHERWISE
