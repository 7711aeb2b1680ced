"""docs/openapi.yaml says what the gateway does: no call more, none less, and replies as they really are."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from typing import Any

import openapi_spec_validator
import pytest
import requests
import yaml
from cloud_rig import account
from described import Described
from processes import ROOT, Gateway, find_free_port, running

import ngpu.http.reading
from ngpu.http.admin import admin_resource
from ngpu.http.cloud import CloudCalls
from ngpu.http.pages import Pages
from ngpu.http.partner import partner_resource, partner_routes
from ngpu.http.queueing import Queueing
from ngpu.http.reading import Reading
from ngpu.http.server.target import METHODS
from ngpu.http.streaming import Streaming
from ngpu.http.submitting import Submitting

ID = "367614711220405248"
HOLDER = "bc1pp8vyhh2ma0ntzjwr26xxrn5r0w296yu68wdwle5rrhgtv3a2lgkqtyayus"
NO_HOLDER = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
NODE = "0x732637A3A3E0D335Dc00d9F8fba8a1033831Bf13"
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQAAAAA3iMLMAAAAFElEQVR42mPkZ2BigCLGD0hsHOIAMiICGzhEDdAAAAAASUVORK5CYII="
RAW = ("/proxy/{port}/{path}", "/proxy/{path}")
UNKNOWN = "20240415_14_30_09_00000000000000000000000000"


@pytest.fixture(scope="module")
def described() -> Described:
    return Described()


def test_the_document_is_openapi(described: Described) -> None:
    openapi_spec_validator.validate(described.document)


def test_every_example_is_what_it_is_an_example_of(described: Described) -> None:
    for name, schema in described.document["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            described.validate_as(example, name)


def test_every_call_of_the_public_listener_is_described_and_no_other(described: Described) -> None:
    nothing: Any = None
    reading = Reading(nothing, {}, nothing)
    submitting = Submitting(nothing, reading, {}, {}, {}, nothing, nothing, nothing, nothing, nothing)
    streaming = Streaming(nothing, nothing, nothing, nothing, 1)
    routes = partner_routes(reading, submitting, Queueing(nothing, nothing, nothing), streaming)
    cloud, pages = CloudCalls(nothing, nothing), Pages(nothing).routes
    resource: Any = partner_resource(routes, nothing, cloud, None, pages)
    # an endpoint without a method only says which methods would do
    rules = [rule for rule in resource._other._inner._app.url_map.iter_rules() if not rule.endpoint.startswith("None ")]
    served = {(method, _templated(rule.rule)) for rule in rules for method in rule.methods - {"HEAD"}}
    served |= {(method.decode(), address) for method in METHODS for address in RAW}
    assert served == {call for call, told in described.operations.items() if told["tags"] != ["admin"]}


def _templated(address: str) -> str:
    return address.replace("<", "{").replace(">", "}")


def test_every_call_of_the_admin_listener_is_described_and_no_other(described: Described) -> None:
    nothing: Any = None
    resource: Any = admin_resource(nothing, nothing, nothing, False)
    served = {(m, rule.rule) for rule in resource._app.url_map.iter_rules() for m in rule.methods - {"HEAD"}}
    assert served == {call for call, told in described.operations.items() if told["tags"] == ["admin"]}
    for _, path in served:
        assert described.document["paths"][path]["servers"], "it is not at the public listener's address"


def test_every_query_parameter_that_is_read_is_described_and_no_other(described: Described) -> None:
    told = [p for call in described.operations for p in described.parameters(*call) if p["in"] == "query"]
    assert {name for p in told for name in (p["name"], *p.get("x-aliases", ()))} == set(_read_parameters())


def _read_parameters() -> Iterator[str]:
    for file in (ROOT / "ngpu/http").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("param", "needed"):
                    yield from (each.value for each in node.args if isinstance(each, ast.Constant))
                if any(ast.unparse(each) == "*TASK_ID" for each in node.args):
                    yield from ngpu.http.reading.TASK_ID


class Customer:
    """Calls the gateway, and lets the document judge every reply."""

    def __init__(self, gateway: Gateway, described: Described) -> None:
        self.gateway = gateway
        self.described = described
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(
        self, method: str, path: str, status: int = 200, name: str = "", key: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """A call whose reply must have this status and be as described; ``{name}`` in the path is filled in."""
        headers = {**({} if key is None else {"Authorization": key}), **more.pop("headers", {})}
        told = self.described.operations[method, path]
        root = self.gateway.admin if told["tags"] == ["admin"] else self.gateway.url
        url = root + path.replace("{name}", name)
        reply = self._session.request(method, url, headers=headers, timeout=60, **more)
        assert reply.status_code == status, f"{reply.status_code}: {reply.text[:500]}"
        self.described.check(method, path, reply)
        body: dict[str, Any] = reply.json() if reply.content and "json" in reply.headers["Content-Type"] else {}
        return body

    @property
    def token(self) -> str:
        """Of the admin listener."""
        return (self.gateway.config_file.parent / "var/admin.token").read_text().strip()

    def submit(self, data: Any, status: int = 200, key: str = ID, **more: Any) -> dict[str, Any]:
        envelope = {"btc_address": more.pop("address", ""), "data": data}
        params = {"taskMode": more.pop("mode", None)}
        return self.ask("POST", "/user/schedulingTask", status, key=key, json=envelope, params=params, **more)

    def query(self, task_id: str) -> dict[str, Any]:
        return self.ask("GET", "/user/queryTask", params={"taskID": task_id})

    def ended(self, task_id: str) -> dict[str, Any]:
        return self.wait(task_id, lambda reply: reply["result_size"] > 0)

    def wait(self, task_id: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The task's reply once this is true of it."""
        deadline = time.monotonic() + 20
        while not true(reply := self.query(task_id)):
            assert time.monotonic() < deadline, reply
            time.sleep(0.05)
        return reply


@pytest.fixture(scope="module")
def customer(tmp_path_factory: pytest.TempPathFactory, described: Described) -> Iterator[Customer]:
    with running(tmp_path_factory.mktemp("openapi")) as processes:
        worker = processes.start_worker("--slots", "4")
        config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
        del config["listen"], config["admin"], config["store"]
        main = config["workspaces"][0]
        main["upstream"][0]["ports"] = {8080: worker.port}
        nobody = [{"node": NODE, "ports": {8080: find_free_port()}}]
        config["workspaces"] += [
            {**main, "id": "small", "body_limit": "200B"},
            {**main, "id": "terse", "result_limit": "100B"},
            {**main, "id": "hasty", "timeout": "1s"},
            {**main, "id": "down", "upstream": nobody, "queue": {"limit": 1}},
            {**main, "id": "shared", "gate": None, "inline_wait": "20s"},
            {**main, "id": "limited", "rate": {"per_second": 0.01, "burst": 2}, "quota": {"per_day": 5}},
        ]
        config["cloud"] = {"accounts": [account("a@b", "c").model_dump()]}
        yield Customer(processes.start_gateway(config), described)


def picture(**more: Any) -> dict[str, Any]:
    return {"prompt": "a cat", "init_images": [PICTURE], **more}


def test_every_call_succeeds_as_described(customer: Customer, described: Described) -> None:
    customer.submit(picture(), mode="Sync", address=HOLDER)
    task = {"params": {"taskID": customer.submit(picture(), mode="Sync")["taskID"]}}
    failed = {"params": {"taskID": customer.ended(customer.submit({}, mode="Async")["taskID"])["taskID"]}}
    running = {"params": {"taskID": customer.submit(picture(delay=30), mode="Async")["taskID"]}}
    body = {"json": {"btc_address": HOLDER, "data": picture()}}
    address = {"params": {"address": HOLDER}}
    calls: dict[tuple[str, str], dict[str, Any]] = {
        ("POST", "/user/schedulingTask"): {"key": ID, **body},
        ("POST", "/user/cancelTask"): {"key": ID, **running},
        ("POST", "/user/retryTask"): {"key": ID, **failed},
        ("POST", "/user/purgeQueue"): {"key": ID},
        ("GET", "/user/queryTask"): task,
        ("GET", "/user/queryTask/stream"): task,
        ("GET", "/user/getDetailed"): task,
        ("GET", "/user/getTask"): task,
        ("GET", "/user/getTasks"): {"key": ID, "params": {"btcaddress": HOLDER}},
        ("GET", "/user/queryTaskList"): {"key": ID},
        ("GET", "/user/queryNodes"): {"key": ID},
        ("GET", "/user/getTasksFromNode"): {"key": ID, "params": {"nodeAddr": NODE}},
        ("GET", "/brc20/checkAddress"): address,
        ("GET", "/user/brc20/checkAddress"): address,
        ("POST", "/user/{name}"): {"name": "img2img", **body},
        ("GET", "/user/{name}"): {"name": "getImage", **task},
        ("GET", "/healthz"): {},
        ("GET", "/readyz"): {},
        ("GET", "/metrics"): {"key": f"Bearer {customer.token}"},
    }
    not_without_a_worker = {("GET", "/media/{name}")}  # see tests/workers/test_talking.py
    # the client's: test_openapi_cloud; raw ones, whose replies are the workers': tests/raw; pages: tests/pages
    elsewhere = {call for call, told in described.operations.items() if told["tags"] in (["cloud"], ["raw"], ["pages"])}
    assert calls.keys() | not_without_a_worker | elsewhere == described.operations.keys()
    for (method, path), more in calls.items():
        customer.ask(method, path, **more)
    customer.ask("GET", "/metrics", 401)


def test_submissions(customer: Customer) -> None:
    assert customer.submit(picture(), mode="Async")["result_size"] == 0
    assert customer.submit(picture(), mode="Sync")["data"]["images"]
    assert customer.submit(picture(), headers={"Prefer": "wait=20"})["data"]["images"]
    assert customer.submit(picture(), key="Bearer shared")["data"]["images"]
    assert isinstance(customer.submit("no JSON", key="ngpu_shared")["data"], str)
    raw = {"headers": {"BtcAddress": HOLDER}, "params": {"paramPort": 8080, "paramUrl": "/"}}
    assert isinstance(customer.ask("POST", "/user/schedulingTask", key=ID, data=b"\xff", **raw)["data"], str)


def test_refused_submissions(customer: Customer) -> None:
    customer.submit([1], 400)
    customer.submit(picture(), 400, mode="Later")
    customer.submit(picture(), 400, address="no address")
    customer.submit(picture(), 401, key="Bearer nobody")
    customer.submit(picture(), 403, address=NO_HOLDER)
    customer.submit("x" * 200, 413, key="small")
    customer.submit({}, 422, mode="Sync")
    customer.submit(picture(), 502, mode="Sync", key="terse")
    customer.submit(picture(), 503, mode="Sync", key="down")
    customer.submit(picture(delay=20), 504, mode="Sync", key="hasty")
    customer.submit(picture(), mode="Async", key="down")
    customer.submit(picture(), 429, mode="Async", key="down")
    customer.ask("POST", "/user/schedulingTask", 401)
    nowhere = {"taskMode": "Sync", "paramUrl": "no/such/path"}
    customer.ask("POST", "/user/schedulingTask", 404, key=ID, headers={"BtcAddress": ""}, params=nowhere)
    for name, status in (("nobody", 404), ("getImage", 405)):
        customer.ask("POST", "/user/{name}", status, name=name, json={"data": ""})


def test_what_is_asked_for_beside_the_work(customer: Customer) -> None:
    wishes = {"taskTtl": "30s", "taskTimeout": "10s", "taskPriority": "high", "webhook": "https://93.184.216.34/hook"}
    known = {"headers": {"Idempotency-Key": "k"}, "params": {"taskMode": "Sync", **wishes}}
    first = customer.ask("POST", "/user/schedulingTask", key=ID, json={"data": picture()}, **known)
    again = customer.ask("POST", "/user/schedulingTask", key=ID, json={"data": picture()}, **known)
    assert again["taskID"] == first["taskID"]
    customer.ask("POST", "/user/schedulingTask", 409, key=ID, json={"data": picture(seed=1)}, **known)
    customer.ask("POST", "/user/{name}", 409, name="img2img", json={"data": picture()}, **known)
    for name, value in {"taskTtl": "2d", "taskTimeout": "1", "taskPriority": "top", "webhook": "http://a/"}.items():
        params = {"params": {name: value}}
        customer.ask("POST", "/user/schedulingTask", 400, key=ID, json={"data": picture()}, **params)
    customer.ask("POST", "/user/purgeQueue", key="down")
    waits = {"headers": {"Idempotency-Key": "k"}, "params": {"taskMode": "Sync", "taskTimeout": "1s"}}
    unfinished = customer.ask("POST", "/user/schedulingTask", 503, key="down", json={"data": picture()}, **waits)
    assert customer.query(unfinished["taskID"])["status"] == "queued"


def test_limits(customer: Customer) -> None:
    customer.submit(picture(), key="limited", mode="Sync")
    task = customer.submit({}, 422, key="limited", mode="Sync")
    customer.submit(picture(), 429, key="limited")
    customer.ask("POST", "/user/retryTask", 429, key="limited", params={"taskID": task["taskID"]})


def test_trying_again_and_dropping(customer: Customer) -> None:
    for status, key, params in ((400, ID, {}), (401, None, {"taskID": UNKNOWN}), (404, ID, {"taskID": UNKNOWN})):
        customer.ask("POST", "/user/retryTask", status, key=key, params=params)
    done = {"params": {"taskID": customer.submit(picture(), mode="Sync")["taskID"]}}
    customer.ask("POST", "/user/retryTask", 409, key=ID, **done)
    customer.ask("POST", "/user/purgeQueue", 401)
    assert customer.ask("POST", "/user/purgeQueue", key=ID)["result_size"] == 0
    customer.ask("GET", "/user/queryTask/stream", 204, headers={"Last-Event-ID": "ended"}, **done)


def test_tasks_in_every_state(customer: Customer) -> None:
    running = customer.submit(picture(delay=30), mode="Async")["taskID"]
    customer.wait(running, lambda reply: reply["status"] == "running")
    queued = customer.submit("", mode="Async")["taskID"]
    assert customer.query(queued)["queue_position"] == 1
    records(customer, queued)
    records(customer, running)
    for status in (200, 409):
        customer.ask("POST", "/user/cancelTask", status, key=ID, params={"taskID": running})
    assert customer.query(running)["data"]["result_code"] == 409
    records(customer, running)
    failed = customer.ended(queued)
    assert failed["result_code"] == 422 and isinstance(failed["data"], str)
    records(customer, queued)
    done = customer.submit(picture(), mode="Sync")["taskID"]
    assert customer.query(done)["status"] == "finished"
    records(customer, done)


def records(customer: Customer, task_id: str) -> None:
    for path, name in (("/user/getDetailed", ""), ("/user/getTask", ""), ("/user/{name}", "getImage")):
        customer.ask("GET", path, name=name, params={"taskID": task_id})


READ = ["/user/queryTask", "/user/queryTask/stream", "/user/getDetailed", "/user/getTask", "/user/{name}"]


@pytest.mark.parametrize("path", READ)
def test_questions_about_a_task_that_is_not_there(customer: Customer, path: str) -> None:
    customer.ask("GET", path, 400, name="img2img")
    customer.ask("GET", path, 401, name="img2img", key="nobody", params={"taskID": UNKNOWN})
    customer.ask("GET", path, 404, name="img2img", params={"taskID": UNKNOWN})


def test_cancelling_what_cannot_be(customer: Customer) -> None:
    for status, key, params in ((400, ID, {}), (401, None, {"taskID": UNKNOWN}), (404, ID, {"taskID": UNKNOWN})):
        customer.ask("POST", "/user/cancelTask", status, key=key, params=params)


LISTS = {
    "/user/getTasks": {"btcaddress": HOLDER},
    "/user/queryTaskList": {},
    "/user/getTasksFromNode": {"nodeAddr": NODE},
}


@pytest.mark.parametrize("path", LISTS)
def test_lists(customer: Customer, path: str) -> None:
    for _ in range(2):
        customer.submit(picture(), mode="Sync", address=HOLDER)
    page = customer.ask("GET", path, key=ID, params={**LISTS[path], "limit": 1, "startTime": "2024-04-11"})
    rest = customer.ask("GET", path, key=ID, params={**LISTS[path], "cursor": page["next_cursor"]})
    assert page["result_size"] == 1 and rest["result_size"] > 0 and "next_cursor" not in rest
    customer.ask("GET", path, 400, key=ID, params={**LISTS[path], "limit": 0})
    customer.ask("GET", path, 401, params=LISTS[path])


def test_the_nodes(customer: Customer) -> None:
    assert customer.ask("GET", "/user/queryNodes", key=ID)["nodes"]
    customer.ask("GET", "/user/queryNodes", 401)


@pytest.mark.parametrize("path", ["/brc20/checkAddress", "/user/brc20/checkAddress"])
def test_an_address(customer: Customer, path: str) -> None:
    assert customer.ask("GET", path, params={"address": HOLDER})["exists"]
    assert not customer.ask("GET", path, params={"address": NO_HOLDER})["exists"]
    customer.ask("GET", path, 400, params={"address": "no address"})
    customer.ask("GET", path, 401, key="nobody", params={"address": HOLDER})


def test_what_no_route_sees(customer: Customer) -> None:
    customer.ask("GET", "/user/queryTask", 414, params={"taskID": "1" * 9000})
    customer.ask("GET", "/user/queryTask", 431, headers={"A": "a" * 70_000})


def test_the_aliases_of_parameters(customer: Customer, described: Described) -> None:
    """A call under another name of its parameter is answered as under the first."""
    task_id = customer.submit(picture(), mode="Sync", address=HOLDER)["taskID"]
    values = {"taskID": task_id, "btcaddress": HOLDER, "nodeAddr": NODE}
    for method, path in described.operations:
        for parameter in described.parameters(method, path):
            names = [parameter["name"], *parameter.get("x-aliases", ())]
            if len(names) > 1 and method == "GET":
                value = values[names[0]]
                first, *others = (
                    customer.ask(method, path, name="getImage", key=ID, params={name: value}) for name in names
                )
                assert all(other.keys() == first.keys() for other in others)


def test_other_methods_are_answered_with_those_that_would_do(customer: Customer, described: Described) -> None:
    for path, item in described.document["paths"].items():
        told = {method for method, known in described.operations if known == path}
        told |= {"HEAD"} if "GET" in told else set()
        root = customer.gateway.admin if "servers" in item else customer.gateway.url
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - told:
            reply = requests.request(method, root + path.replace("{name}", "img2img"), timeout=10)
            assert reply.status_code == 405
            assert set(reply.headers["Allow"].split(", ")) == told
            described.validate_as(reply.json(), "ErrorReply")
