"""`ngpu.testing.verify_plugin`, as a third party's test would call it, over every plugin of the house."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from brc20_sources import BALANCES, HEIGHT, HOLDER, KEYS, NOBODY, SOURCES, Request

from ngpu.adapter import WorkerReply
from ngpu.discovery import discover
from ngpu.interfaces import Fetched, FetchRequest
from ngpu.testing import AdapterCall, verify_plugin

PLUGINS = discover([])
HOLDS = {ticker: f"{amount:f}" for ticker, amount in BALANCES[HOLDER].items() if amount > 0}
KNOWN = {address: {ticker: f"{amount:f}" for ticker, amount in held.items()} for address, held in BALANCES.items()}


def source(kind: str) -> Callable[[FetchRequest], Fetched]:
    """What a source answers, without its sockets."""
    server: Any = SimpleNamespace(of=lambda address: BALANCES.get(address, {}), show=str, height=HEIGHT, page=1000)

    def answer(asked: FetchRequest) -> Fetched:
        parts = urlsplit(asked.url)
        headers = {name.lower(): value for name, value in asked.headers}
        target = parts._replace(scheme="", netloc="").geturl()
        status, document = SOURCES[kind](server, Request(asked.method, target, headers, asked.body))
        return Fetched(status, json.dumps(document).encode())

    return answer


def checker(kind: str, **more: Any) -> dict[str, Any]:
    """A source's checker, which reads its keys from files of a folder."""
    return {"options": dict.fromkeys(KEYS[kind], "key"), "source": source(kind), "holds": HOLDS, **more}


def queue_worker(call: AdapterCall) -> Any:
    return {"task_id": "7", "result_code": 100, "code": 100} if call.method == "POST" else {"result_code": 100}


def talker(call: AdapterCall) -> Any:
    """The worker that makes the video, and the one that speaks."""
    if call.workspace is not None:
        return {"audio_url": "http://tts.example/a.mp3", "result_code": 100, "voices": []}
    return queue_worker(call) | ({} if call.method == "POST" else {"result_url": "http://worker.example/v.mp4"})


def cog(call: AdapterCall) -> Any:
    return {"status": "succeeded", "output": "data:,"} if call.method == "PUT" else WorkerReply(200)


SPEECH = {"tts": {"workspace": "tts", "kind": "openai_speech", "deliver": "data_uri"}}
GIVEN: dict[str, dict[str, Any]] = {
    "sticky": {"options": {"field": "user.id"}},
    **{kind: checker(kind) for kind in SOURCES},
    "static": {"options": {"balances": KNOWN}, "holds": HOLDS},
    "quorum": checker("opi", options={"checkers": [{"checker": "opi"}] * 3}),
    "queue_worker": {"options": {"poll": {"path": "poll"}, "defaults": {"a": 1}}, "worker": queue_worker},
    "sad_talker": {"options": SPEECH, "worker": talker},
    "video_retalker": {"options": SPEECH, "worker": talker},
    "cog": {"worker": cog},
    "redis": {"options": {"url": "redis://127.0.0.1:6379/0"}},
    "docker": {"options": {"url": "unix:///run/docker.sock"}},
    "swarm": {"options": {"url": "unix:///run/docker.sock", "constraints": ["node.role == worker"]}},
}
REQUEST = {"image_url": "http://h/i.png", "video_url": "http://h/v.mp4", "text": "hello", "pronouncer": "x"}


@pytest.mark.parametrize(("family", "name"), sorted(PLUGINS.factories))
def test_the_plugins_of_the_house_keep_their_contracts(family: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("the-key")
    verify_plugin(
        PLUGINS.factories[family, name],
        **{"folder": str(tmp_path), "plugins": PLUGINS.factories.values(), "holder": HOLDER, "nobody": NOBODY}
        | ({"request": json.dumps(REQUEST).encode()} if family == "adapter" else {})
        | GIVEN.get(name, {}),
    )


def test_every_checker_and_adapter_is_tried_with_what_it_asks() -> None:
    """Without a source or a worker, only half of the contract is looked at."""
    kinds = {name for family, name in PLUGINS.factories if family in ("checker", "adapter")}
    assert kinds - set(GIVEN) == {"passthrough"}  # which has no conversation
