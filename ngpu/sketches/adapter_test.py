"""What the app adapter ``example`` promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ngpu.testing import AdapterCall, load_plugin, verify_plugin

PLUGIN = load_plugin(Path(__file__).parents[1] / "example.py")


def worker(call: AdapterCall) -> dict[str, Any]:
    """What the worker answers: it takes every job, and has done it at once."""
    return {"id": "7"} if call.method == "POST" else {"state": "done", "url": "http://worker/7.png"}


def test_it_keeps_the_contract() -> None:
    """A job is submitted once, also across a restart, and every failure is told."""
    verify_plugin(PLUGIN, options={"interval": "1s"}, worker=worker, request=b'{"prompt": "a cat"}')
