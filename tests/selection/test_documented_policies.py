"""The policies' blocks of docs/plugins.md can be used; wrong ones are told of with their place; figures are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from crowd import NAMES
from markdown_page import blocks
from processes import ROOT
from twisted.internet.task import Clock

from ngpu.settings import Loaded, SettingsError
from ngpu.settings.workspace import Selection
from ngpu.tap import check

PAGE = (ROOT / "docs/plugins.md").read_text()
SECTION = PAGE.partition("\n## Selection policies\n")[2].partition("\n## ")[0]


def loaded(folder: Path, selection: Any) -> Loaded:
    block = {"id": "1", "ports": {80: 81}, "upstream": [{"node": "0xA1", "ports": {80: 82}}], "selection": selection}
    path = folder / "ngpu.yaml"
    path.write_text(yaml.safe_dump({"nodes": [{"address": "0xA1", "host": "h"}], "workspaces": [block]}))
    return check(path, Clock())


def test_every_policy_has_a_block_that_can_be_used(tmp_path: Path) -> None:
    shown = [yaml.safe_load(block.text) for block in blocks(SECTION) if block.kind == "yaml"]
    used = {loaded(tmp_path, each["selection"]).settings.workspaces[0].selection.policy for each in shown}
    assert used == set(NAMES)
    (whole,) = [block.text for block in blocks(SECTION) if block.kind == "yaml ngpu.yaml"]
    path = tmp_path / "whole.yaml"
    path.write_text(whole)
    require = check(path, Clock()).settings.workspaces[0].selection.require
    assert (require.gpus.type, require.gpus.memory, dict(require.labels)) == ("RTX 3090", 24 << 30, {"area": "eu"})


def test_the_page_has_the_figures_of_every_policy_and_names_the_default() -> None:
    default = Selection().policy
    assert f"| `{default}` (default) |" in SECTION and f"`{default}` is the default because" in SECTION
    for name in NAMES:
        assert SECTION.count(f"\n| `{name}` |") >= 4, f"three scenarios and the time of a choice: {name}"
    assert f"#     policy: {default} " in (ROOT / "config/ngpu.yaml").read_text()
    for name in NAMES:
        assert name in (ROOT / "config/ngpu.yaml").read_text()


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ({"policy": "quickest"}, "policy: there is no selection plugin 'quickest'"),
        ({"policy": "fastest", "options": {"sample": 1}}, "options.sample: must be a whole number from 2 to 100"),
        ({"policy": "fastest", "options": {"cold": 101}}, "options.cold: must be a whole number from 0 to 100"),
        (
            {"policy": "fastest", "options": {"sampel": 3}},
            "options.sampel: fastest has no such option (did you mean 'sa",
        ),
        ({"policy": "peak_ewma", "options": {"decay": 60}}, "options.decay: needs a unit"),
        ({"policy": "peak_ewma", "options": {"decay": "0s"}}, "options.decay: must be more than 0"),
        ({"policy": "random", "options": {"seed": 1}}, "options.seed: random has no such option"),
        ({"policy": "sticky"}, "sticky needs either header or field"),
        (
            {"policy": "sticky", "options": {"header": "X", "field": "a"}},
            "options: sticky needs either header or field",
        ),
        (
            {"policy": "sticky", "options": {"header": "X Session"}},
            "options.header: must be the name of a header field",
        ),
        ({"policy": "sticky", "options": {"field": "a..b"}}, "options.field: must be a field's name"),
        ({"policy": "sticky", "options": {"field": "a", "epsilon": 0}}, "options.epsilon: must be a number above 0"),
        ({"policy": "sticky", "options": {"field": "a", "epsilon": True}}, "options.epsilon: must be a number above 0"),
        ({"policy": "sticky", "options": {"field": "a", "epsilon": ".5"}}, "options.epsilon: must be a number above 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_block_is_told_of_at_its_place(tmp_path: Path, selection: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, selection)
    assert said in str(caught.value)
