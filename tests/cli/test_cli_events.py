"""`ngpu events`: what has happened, and what happens while it follows."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import yaml
from command_rig import NODE, WORKSPACE, CommandRig, command
from processes import ROOT


def test_what_has_happened_is_listed_and_chosen_from(rig: CommandRig) -> None:
    up = rig.json("events", "--kind", "replica_up", "--workspace", "painting")
    assert up and {each["workspace"] for each in up} == {WORKSPACE}
    shown = rig.admin("events", "--severity", "warning").out
    assert "replica_down" in shown and "replica_up" not in shown and "cannot be reached" in shown
    assert len(rig.json("events", "--limit", "2")) == 2
    assert rig.admin("events", "--node", "0xnone").out == "there are no such events\n"
    assert rig.admin("events", "--after", str(1 << 52)).out == "there are no such events\n"
    wrong = rig.admin("events", "--kind", "nothing")
    assert wrong.code == 4 and "task_failed" in wrong.err


def test_what_happens_is_told_as_it_happens(rig: CommandRig, tmp_path: Path) -> None:
    last = rig.json("events")[-1]["id"]
    follow = command("events", "-f", "--json", "--after", str(last), "-c", rig.config)
    with subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as following:
        assert following.stdout is not None and following.stderr is not None
        block = tmp_path / "block.yaml"
        upstream = [{"node": NODE, "ports": {8080: rig.worker.port}}]
        block.write_text(yaml.safe_dump({"id": "event", "ports": {"8080": 80}, "upstream": upstream}))
        assert rig.admin("workspaces", "create", str(block)).code == 0
        while json.loads(following.stdout.readline())["kind"] != "workspace_made":
            pass
        rig.admin("workspaces", "delete", "-y", "event")
        while (told := json.loads(following.stdout.readline()))["kind"] != "workspace_deleted":
            pass
        assert told["id"] > last
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 130 and following.stderr.read() == "\n"
