"""The adapters' blocks: those that docs/plugins.md shows can be used, and wrong ones are told of with their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from apps_rig import HEAD, SPEECH, workspace
from processes import ROOT
from twisted.internet.task import Clock

from ngpu.settings import AppRoute, Loaded, SettingsError
from ngpu.tap import check

PAGE = ROOT / "docs/plugins.md"
PORTS = (5000, 7990, 8000, 8075, 8080)
TTS = {"workspace": SPEECH, "port": 7990, "kind": "edge_tts"}


def loaded(folder: Path, apps: dict[str, Any]) -> Loaded:
    ids = {"0", HEAD, SPEECH, *(app["workspace"] for app in apps.values() if isinstance(app.get("workspace"), str))}
    ids -= {"nobody"}
    blocks = [workspace(each, dict.fromkeys(PORTS, 18080)) for each in sorted(ids)]
    blocks += [workspace("367614711220405251", {8000: 18080})]
    node = {"address": blocks[0]["upstream"][0]["node"], "host": "127.0.0.1"}
    path = folder / "ngpu.yaml"
    path.write_text(yaml.safe_dump({"nodes": [node], "workspaces": blocks, "apps": apps}))
    return check(path, Clock())


def shown() -> dict[str, Any]:
    """Every app of the page."""
    found: dict[str, Any] = {}
    for text in PAGE.read_text().split("```yaml")[1:]:
        found |= yaml.safe_load(text.partition("\n")[2].partition("```")[0]).get("apps", {})
    return found


def test_every_adapter_has_a_block_that_can_be_used(tmp_path: Path) -> None:
    apps = shown()
    settings = loaded(tmp_path, apps).settings
    used = {app.adapter for app in settings.apps.values() if isinstance(app, AppRoute)}
    names = {path.stem for path in (ROOT / "plugins").glob("*.py") if 'Factory(\n    "adapter"' in path.read_text()}
    assert used == names >= {"passthrough", "queue_worker", "sad_talker", "video_retalker", "cog"}


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (
            {"adapter": "sad_talkr"},
            "apps.a.adapter: there is no adapter plugin 'sad_talkr' (did you mean 'sad_talker'?)",
        ),
        (
            {"adapter": "cog", "options": {"url": []}},
            "apps.a.options.url: cog has no such option (did you mean 'urls'?)",
        ),
        ({"adapter": "sad_talker"}, "apps.a.options: tts is missing"),
        ({"options": {"tts": {**TTS, "workspace": "nobody"}}}, "apps.a.options.tts.workspace: there is no workspace"),
        ({"options": {"tts": {**TTS, "port": 7991}}}, "apps.a.options.tts.port: the workspace declares no such port"),
        ({"options": {"tts": {**TTS, "kind": "espeak"}}}, "apps.a.options.tts.kind: must be edge_tts or openai_speech"),
        ({"options": {"tts": {**TTS, "voice": "x"}}}, "apps.a.options.tts.voice: there is no such key"),
        ({"options": {"tts": TTS}, "workspace": SPEECH}, "apps.a.options: the app calls its own workspace"),
        ({"options": {"tts": TTS, "deadline": "30"}}, "apps.a.options.deadline: needs a unit"),
        ({"adapter": "queue_worker"}, "apps.a.options.poll: path is missing"),
        (
            {"adapter": "queue_worker", "options": {"poll": {"path": "http://x/y?z"}}},
            "apps.a.options.poll.path: must be a",
        ),
        (
            {"adapter": "queue_worker", "options": {"poll": {"path": "x"}, "done": "100"}},
            "apps.a.options.done: must be",
        ),
        (
            {"adapter": "queue_worker", "options": {"poll": {"path": "x", "method": "PUSH"}}},
            "poll.method: must be GET or",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_block_is_told_of_at_its_place(tmp_path: Path, app: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, {"a": {"adapter": "sad_talker", "workspace": HEAD, **app}})
    assert said in str(caught.value)
