"""What the inscription checker ``example`` promises."""

from __future__ import annotations

import json
from pathlib import Path

from ngpu.interfaces import Fetched, FetchRequest
from ngpu.testing import HOLDER, load_plugin, verify_plugin

PLUGIN = load_plugin(Path(__file__).parents[1] / "example.py")


def service(asked: FetchRequest) -> Fetched:
    """What the service answers: one address holds something."""
    listed = [{"ticker": "ordi", "amount": "12.5"}] if asked.url.endswith(HOLDER) else []
    return Fetched(200, json.dumps({"balances": listed}).encode())


def test_it_keeps_the_contract() -> None:
    """What is held is exact, and whatever goes wrong with the source is unknown."""
    verify_plugin(PLUGIN, options={"url": "http://127.0.0.1:8000"}, source=service, holds={"ORDI": "12.5"})
