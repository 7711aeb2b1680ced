"""`ngpu reload`: it takes effect or says why not, with one process and with several."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from command_rig import NODE, typed
from processes import Gateway, running
from redis_server import block

OURS = {"id": "mine", "ports": {8080: 80}, "upstream": [{"node": NODE, "ports": {8080: 1}}]}


@pytest.fixture(params=[1, 2])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateway]:
    nodes = [{"address": NODE, "host": "127.0.0.1"}]
    several = {"store": block(), "processes": 2} if request.param == 2 else {}
    with running(tmp_path) as processes:
        yield processes.start_gateway({"nodes": nodes, "workspaces": [OURS], **several})


def test_a_reload_takes_effect_or_says_why_not(gateway: Gateway) -> None:
    file = str(gateway.config_file)

    def workspaces() -> set[str]:
        return {each["id"] for each in json.loads(typed("workspaces", "--json", "-c", file).out)}

    content = yaml.safe_load(gateway.config_file.read_text())
    wrong = {**content, "workspaces": [OURS, {**OURS, "id": "other", "retri": "never"}]}
    gateway.config_file.write_text(yaml.safe_dump(wrong))
    # the file cannot be used to find the gateway either
    named = ("--admin", gateway.admin, "--token-file", str(gateway.config_file.parent / "var" / "admin.token"))
    refused = typed("reload", *named)
    assert refused.code == 1 and "nothing was changed" in refused.err
    assert "retri: there is no such key here (did you mean 'retry'?)" in refused.err
    gateway.config_file.write_text(yaml.safe_dump({**content, "workspaces": [OURS, {**OURS, "id": "other"}]}))
    assert workspaces() == {"mine"}
    done = typed("reload", "-c", file)
    assert (done.code, done.out) == (0, "the configuration that is in the file now serves\n"), done
    assert workspaces() == {"mine", "other"}
