"""Plugins that misbehave in a running gateway: each costs the request whose turn it was, and never the process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from api_rig import HOLDER, Client, Rig, configuration, eventually, key_hash, refused, rig_of, right, workspace
from scripted_worker import script

MOODY, CALM, GATED, APPS = "moody", "calm", "gated", "apps"

POLICY = '''
"""Chooses as the request's path, or a file, tells it to."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

from zope.interface import implementer

from ngpu.interfaces import ISelectionPolicy, Option
from ngpu.plugin import Factory


@implementer(ISelectionPolicy)
class Moody:
    def __init__(self, mood):
        self.mood = mood

    def select(self, replicas, request):
        mood = parse_qs(urlsplit(request.path).query).get("mood", [self.mood.read_text()])[0]
        if mood == "raise":
            raise ZeroDivisionError("no weight")
        if mood == "exit":
            sys.exit(3)
        if mood == "recurse":
            return self.select(replicas, request)
        if mood == "foreign":
            return SimpleNamespace(replica=replicas[0].replica)
        if mood == "clear":
            replicas.clear()
        return None if mood == "nobody" else replicas[0]


moody = Factory(
    "selection",
    "moody",
    "A test's.",
    lambda options, context: Moody(Path(context.folder, options["file"])),
    (Option("file", "its mood"),),
)
'''
CHECKER = '''
"""Answers as the ticker tells it to."""

import sys
from decimal import Decimal

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ngpu.interfaces import IInscriptionChecker
from ngpu.model import Holdings
from ngpu.plugin import Factory


@implementer(IInscriptionChecker)
class Moody:
    async def holdings(self, address, tickers):
        (mood,) = tickers
        if mood == "raises":
            raise KeyError(mood)
        if mood == "exits":
            sys.exit(3)
        if mood == "mapped":
            return {"raises": 7}
        if mood == "floats":
            return Holdings({mood: float("nan")})
        return Holdings({mood: Decimal(1)})


moody_checker = Factory("checker", "moody_checker", "A test's.", lambda options, context: Moody())
'''
ADAPTER = '''
"""Converses as the request tells it to."""

import sys

from zope.interface import implementer

from ngpu.adapter import Adapter, IAppAdapter, WorkerReply
from ngpu.plugin import Factory


@implementer(IAppAdapter)
class Moody(Adapter):
    async def check(self, request, urls):
        self._do(request, b"check")

    async def run(self, work):
        reply = await work.call("POST", "/act", body=work.request)
        self._do(work.request, b"run")
        return None if b"nothing" in work.request else reply

    async def cancel(self, work):
        raise KeyError("cancel")

    def status(self, task, result):
        self._do(task.request.target.encode() if task else b"", b"status")

    def _do(self, said, where):
        if where + b"-raises" in said:
            raise KeyError("a mistake")
        if where + b"-exits" in said:
            sys.exit(3)


moody_adapter = Factory("adapter", "moody_adapter", "A test's.", lambda options, context: Moody())
'''
TICKERS = ("raises", "exits", "mapped", "floats", "well")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    for name, text in (("moody", POLICY), ("moody_checker", CHECKER), ("moody_adapter", ADAPTER)):
        (folder / f"{name}.py").write_text(text)
    (folder / "mood").write_text("well")
    return folder


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        moody = {"policy": "moody", "options": {"file": str(folder / "mood")}}
        return configuration(
            workspace(MOODY, *ports, selection=moody),
            workspace(CALM, *ports, slots=8),
            workspace(APPS, *ports, slots=8),
            *(workspace(GATED + ticker, *ports, slots=8, gate=ticker) for ticker in TICKERS),
            gates={ticker: {"checker": "moody_checker", "tickers": [ticker], "cache": "0s"} for ticker in TICKERS},
            apps={"talk": {"adapter": "moody_adapter", "workspace": APPS, "mode": "async"}},
            plugins={"path": [str(folder)]},
        )

    with rig_of(tmp_path_factory.mktemp("gateway"), 1, make) as one:
        yield one


@pytest.fixture(autouse=True)
def alive(rig: Rig, folder: Path) -> Iterator[None]:
    """Whatever happened, the same process serves, and the same replica."""
    yield
    (folder / "mood").write_text("well")
    assert right(sync(rig.client(CALM))) and right(sync(rig.client(MOODY)))


def sync(client: Client, **what: Any) -> requests.Response:
    return client.send(script(**what), params={"taskMode": "Sync"})


def logged(rig: Rig, text: str) -> int:
    return rig.gateway.log.read_text("utf-8").count(text)


@pytest.mark.parametrize("mood", ["raise", "exit", "recurse", "foreign", "clear"])
def test_a_policy_that_fails_costs_its_request(rig: Rig, mood: str) -> None:
    told = f"the selection policy of workspace-{key_hash(MOODY)[:8]}"
    client = rig.client(MOODY)
    before, known = logged(rig, told), client.listed()
    answer = sync(client, mood=mood)
    assert "selection policy" in refused(answer, 503) and int(answer.headers["Retry-After"]) > 0
    assert logged(rig, told) == before + 1
    (task,) = eventually(lambda: set(client.listed()) - set(known), "its record")
    assert client.status(task) == "failed"


def test_those_who_wait_behind_it_are_served(rig: Rig) -> None:
    """All three want the one slot: the one in the middle is refused when its turn has come, not the last."""
    client = rig.client(MOODY)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(sync, client, marker="first", delay=3.0)
        eventually(lambda: "first" in rig.worker.markers(), "the slot is taken")
        bad = pool.submit(sync, rig.client(MOODY), marker="bad", mood="raise")
        eventually(lambda: waiting(rig) == 1, "one waits")
        good = pool.submit(sync, rig.client(MOODY), marker="good")
        eventually(lambda: waiting(rig) == 2, "two wait")
        refused(bad.result(), 503)
        right(first.result())
        right(good.result())
    assert "bad" not in rig.worker.markers()


def waiting(rig: Rig) -> int:
    """How many calls stand in any line."""
    figures = rig.admin("/metrics", rig.token).text.splitlines()
    return sum(int(float(line.split()[-1])) for line in figures if line.startswith("ngpu_line_waiting{"))


def test_queued_tasks_outlast_a_policy_that_cannot_choose(rig: Rig, folder: Path) -> None:
    client = rig.client(MOODY)
    (folder / "mood").write_text("raise")
    told = f"the selection policy of workspace-{key_hash(MOODY)[:8]}"
    before, began = logged(rig, told), time.monotonic()
    tasks = [client.submit(script(marker=f"queued{number}")) for number in range(3)]
    eventually(lambda: logged(rig, told) >= before + 2, "it is asked again")
    assert [client.status(task) for task in tasks] == ["queued"] * 3
    assert logged(rig, told) - before <= 3 + (time.monotonic() - began), "no more than once a second"
    (folder / "mood").write_text("well")
    assert [client.ended(task)["status"] for task in tasks] == ["finished"] * 3


def test_a_policy_that_chooses_nobody_lets_the_request_wait(rig: Rig, folder: Path) -> None:
    """It is asked again with every health check, so that none waits longer than it has to."""
    client = rig.client(MOODY)
    (folder / "mood").write_text("nobody")
    task = client.submit(script(marker="patient"))
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(sync, rig.client(MOODY), marker="patient too")
        eventually(lambda: waiting(rig) == 2, "the call, and the queue")
        (folder / "mood").write_text("well")
        assert right(call.result())
    assert client.ended(task)["status"] == "finished"


@pytest.mark.parametrize("ticker", ["raises", "exits", "mapped", "floats"])
def test_a_checker_that_fails_is_unknown(rig: Rig, ticker: str) -> None:
    def submitted(ticker: str) -> requests.Response:
        return rig.client(GATED + ticker).send(script(), params={"taskMode": "Sync"}, address=HOLDER)

    assert "try again" in refused(submitted(ticker), 503)
    assert right(submitted("well"))


@pytest.mark.parametrize("how", ["raises", "exits"])
def test_an_adapter_that_fails_costs_its_task(rig: Rig, how: str) -> None:
    client = rig.client(APPS)

    def sent(said: str) -> requests.Response:
        return client.ask("POST", "/user/talk", json={"data": said})

    well = right(sent("all is well"))["taskID"]
    failing = [right(sent(said))["taskID"] for said in (f"run-{how}", "nothing")]
    assert [client.ended(task)["status"] for task in failing] == ["failed", "failed"]
    assert client.ended(well)["status"] == "finished"
    refused(sent(f"check-{how}"), 500)


def test_an_adapter_whose_status_fails_costs_the_poll(rig: Rig) -> None:
    client = rig.client(APPS)
    task = right(client.ask("POST", "/user/talk?x=status-raises", json={"data": "x"}))["taskID"]
    client.ended(task)
    answer = client.ask("GET", "/user/talk", params={"taskID": task})
    assert answer.status_code in (200, 500) and json.loads(answer.content)


def test_nobody_but_the_operator_sees_the_traceback(rig: Rig) -> None:
    answer = sync(rig.client(MOODY), mood="raise")
    assert "ZeroDivisionError" not in answer.text and os.sep not in refused(answer, 503)
    assert logged(rig, "ZeroDivisionError: no weight") >= 1
