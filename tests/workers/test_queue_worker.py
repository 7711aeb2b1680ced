"""The adapter `queue_worker`, configured for the workers of wire contract §5, with the blocks of docs/plugins.md."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any

import pytest
import yaml
from api_rig import Client, eventually, refused, right
from apps_rig import HEAD, WITHIN, Apps, has_state, workspace
from processes import ROOT
from queue_workers import FaceFusion, Ollama, QueueWorker, rembg
from stand_in import Answer, Line


def documented(name: str) -> dict[str, Any]:
    """The block of that app in docs/plugins.md, made to ask often."""
    for text in (ROOT / "docs/plugins.md").read_text().split("```yaml")[1:]:
        apps = yaml.safe_load(text.partition("\n")[2].partition("```")[0]).get("apps", {})
        if name in apps:
            app: dict[str, Any] = {**apps[name], "workspace": HEAD, "port": 8075}
            options = app.setdefault("options", {})
            if "poll" in options:
                options["poll"] = {**options["poll"], "interval": "30ms"}
            return app
    raise AssertionError(f"docs/plugins.md shows no app {name}")


def started(apps: Apps, worker: QueueWorker, name: str, **options: Any) -> Client:
    app = documented(name)
    app["options"] = {**app.get("options", {}), **options}
    return apps.start(workspace(HEAD, {8075: worker.port}, apps={name: name}), apps={name: app})


def envelope(**fields: Any) -> dict[str, Any]:
    return {"btc_address": "", "data": fields}


def done(client: Client, name: str, **fields: Any) -> dict[str, Any]:
    """queryTask's reply for a job that was submitted to the app."""
    return client.ended(right(client.ask("POST", f"/user/{name}", json=envelope(**fields)))["taskID"])


def test_rembg(apps: Apps) -> None:
    worker = apps.worker(rembg())
    picture = worker.keep("cat.png", b"a cat", "image/png")
    client = started(apps, worker, "removeBG")
    reply = done(client, "removeBG", kind="image", obj="any", url=picture, bgColor="")
    assert reply["status"] == "finished" and reply["data"]["result_code"] == 100 and reply["data"]["result_url"]
    (job,) = worker.calls("POST", "/removeBG")
    assert job.body == {"kind": "image", "obj": "any", "url": picture, "bgColor": ""}
    assert worker.fetched == [b"a cat"]
    refused(client.ask("POST", "/user/removeBG", json=envelope(url="http://10.0.0.1/x.png")), 400)


def test_a_worker_that_says_422(apps: Apps) -> None:
    """Its status and its words are the answer; the reason says whose they are."""
    client = started(apps, apps.worker(rembg()), "removeBG")
    reply = done(client, "removeBG", kind="image")
    assert (reply["status"], reply["result_code"]) == ("failed", 422)
    assert reply["msg"].startswith("rembg: would not take the job: HTTP 422: ") and "url" in reply["msg"]
    waiting = client.ask("POST", "/user/removeBG?taskMode=Sync", json=envelope(kind="image"))
    assert refused(waiting, 422).startswith("rembg: ")
    assert waiting.json()["data"]["detail"][0]["loc"] == ["body", "url"]
    reply = done(client, "removeBG", url="")
    assert (reply["result_code"], reply["msg"]) == (
        502,
        "rembg: would not take the job: code 200: The parameters are wrong",
    )


def test_facefusion_has_codes_of_its_own(apps: Apps) -> None:
    worker = apps.worker(FaceFusion())
    client = started(apps, worker, "faceSwap")
    reply = done(client, "faceSwap", fun="swap", source="a", target="b")
    assert reply["status"] == "finished" and reply["data"]["data"]["url"].endswith(".out")
    worker.fail = "no face was found"
    reply = done(client, "faceSwap", fun="swap")
    assert reply["msg"] == "facefusion: the job failed: code -1: no face was found"
    assert {line.method for line in worker.journal if line.path == "/start"} == {"GET", "POST"}


def test_ollama_asks_with_a_body_and_gives_its_text(apps: Apps) -> None:
    worker = apps.worker(Ollama())
    client = started(apps, worker, "chat")
    reply = done(client, "chat", prompt="hello")
    assert (reply["status"], reply["data"]) == ("finished", "You said: hello")
    assert worker.calls("POST", "/get")[0].body == {"taskId": next(iter(worker.jobs))}


def test_fields_get_the_workers_names_and_defaults(apps: Apps) -> None:
    worker = apps.worker(rembg())
    picture = worker.keep("cat.png", b"a cat", "image/png")
    more = {"rename": {"url": "image"}, "defaults": {"kind": "image", "obj": "any"}, "urls": ["image"]}
    client = started(apps, worker, "removeBG", **more)
    assert done(client, "removeBG", image=picture, obj="cat")["status"] == "finished"
    assert worker.calls("POST", "/removeBG")[0].body == {"url": picture, "kind": "image", "obj": "cat"}
    refused(client.ask("POST", "/user/removeBG", json={"data": "no object"}), 400)


def test_a_code_that_nobody_knows_is_a_failure(apps: Apps) -> None:
    """Else a job would hang on it until its deadline."""
    worker = apps.worker(rembg(30))
    picture = worker.keep("cat.png", b"a cat", "image/png")
    client = started(apps, worker, "removeBG")
    task_id = right(client.ask("POST", "/user/removeBG", json=envelope(url=picture)))["taskID"]
    eventually(lambda: worker.jobs, "it is there", WITHIN)
    next(iter(worker.jobs.values())).code = 177
    assert "code 177" in client.ended(task_id)["msg"]


@pytest.mark.parametrize("odd", [b"<html>busy</html>", b"", b"[]", b'{"task_id": null}', b'{"task_id": {}}', b"\xff"])
def test_a_worker_that_gives_no_id(apps: Apps, odd: bytes) -> None:
    worker = apps.worker(rembg())
    worker.answer = lambda line: Answer(odd, 200, "text/html")  # type: ignore[method-assign]
    reply = done(started(apps, worker, "removeBG"), "removeBG", url="")
    assert reply["status"] == "failed" and reply["msg"].startswith("rembg: gave no task id: ")


def test_the_deadline_ends_a_job_and_frees_the_slot(apps: Apps) -> None:
    """It counts from the start of the conversation; the worker that can is told."""
    worker = apps.worker(Cancellable(takes=30))
    client = started(apps, worker, "removeBG", deadline="1s", cancel={"path": "cancel/{id}"}, urls=[])
    reply = done(client, "removeBG", url=worker.keep("cat.png", b"", "image/png"))
    assert (reply["status"], reply["result_code"]) == ("failed", 504)
    assert "deadline of 1 s" in reply["msg"]
    eventually(lambda: worker.cancelled, "the worker is told", WITHIN)


class Cancellable(QueueWorker):
    """Takes jobs back."""

    def __init__(self, takes: float) -> None:
        super().__init__("/removeBG", ("url",), takes)
        self.cancelled: list[str] = []

    def answer(self, line: Line) -> Answer:
        if line.path.startswith("/cancel/"):
            self.cancelled.append(line.path.removeprefix("/cancel/"))
            return Answer({})
        return super().answer(line)


def test_cancelling_and_leaving_reach_the_worker(apps: Apps) -> None:
    worker = apps.worker(Cancellable(takes=30))
    picture = worker.keep("cat.png", b"", "image/png")
    client = started(apps, worker, "removeBG", cancel={"path": "cancel/{id}"})
    task_id = right(client.ask("POST", "/user/removeBG", json=envelope(url=picture)))["taskID"]
    has_state(client, task_id, 4)
    right(apps.client(HEAD).ask("POST", f"/user/cancelTask?taskID={task_id}"))
    eventually(lambda: worker.cancelled == list(worker.jobs), "the first job is taken back", WITHIN)

    connection = HTTPConnection(apps.gateway.url.removeprefix("http://"))
    connection.request("POST", "/user/removeBG?taskMode=Sync", json.dumps(envelope(url=picture)))
    (left,) = eventually(lambda: {*apps.client(HEAD).listed()} - {task_id}, "the second one is taken in", WITHIN)
    has_state(client, left, 4)
    connection.close()
    eventually(lambda: len(worker.cancelled) == 2, "the second one, whose client has left", WITHIN)
    eventually(lambda: client.detailed(left)["state"] == 5, "and its record says so", WITHIN)


def test_an_adapter_that_raises_costs_that_task_only(apps: Apps, tmp_path: Any) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "clumsy.py").write_text(CLUMSY)
    worker = apps.worker(rembg())
    block = {"adapter": "clumsy", "workspace": HEAD, "port": 8075}
    client = apps.start(
        workspace(HEAD, {8075: worker.port}),
        apps={"clumsy": block},
        plugins={"path": [str(folder)]},
    )
    for how in ("raise", "odd", "shut"):
        reply = done(client, "clumsy", how=how)
        assert (reply["status"], reply["result_code"]) == ("failed", 500), how
    assert done(client, "clumsy", how="well")["data"] == {"ok": True}
    refused(client.ask("POST", "/user/clumsy", json=envelope(how="check")), 500)
    assert "ZeroDivisionError" in apps.gateway.log.read_text()


CLUMSY = """
import json
from zope.interface import implementer
from ngpu.adapter import Adapter, IAppAdapter, WorkerReply
from ngpu.plugin import Factory


@implementer(IAppAdapter)
class Clumsy(Adapter):
    async def check(self, request, urls):
        if json.loads(request)["how"] == "check":
            1 / 0

    async def run(self, work):
        how = json.loads(work.request)["how"]
        if how == "raise":
            1 / 0
        if how == "shut":
            raise SystemExit(3)
        return WorkerReply(200, (), b'{"ok": true}') if how == "well" else None


clumsy = Factory("adapter", "clumsy", "Fails.", lambda options, context: Clumsy())
"""


def test_ollama_in_one_go_needs_no_adapter(apps: Apps) -> None:
    client = started(apps, apps.worker(Ollama()), "chatSync")
    reply = right(client.ask("POST", "/user/chatSync", json=envelope(prompt="hello")))
    assert reply["data"] == {"data": "You said: hello", "result_code": 100, "msg": "SUCCESS"}


def test_a_string_goes_to_the_worker_as_it_is(apps: Apps) -> None:
    worker = apps.worker(Ollama())
    client = started(apps, worker, "chat")
    task_id = right(client.ask("POST", "/user/chat", json={"data": json.dumps({"prompt": "x"})}))["taskID"]
    assert client.ended(task_id)["data"] == "You said: x"
