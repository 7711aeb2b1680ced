"""`ngpu audit` on a real gateway: a store that is well, one that is not, and what waits beside idle replicas."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from api_rig import Rig, configuration, eventually, rig_of, workspace
from forked import fork_server
from processes import ROOT, find_free_port
from scripted_worker import script

UP, DOWN = "up", "down"


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def make(ports: list[int]) -> dict[str, Any]:
        return configuration(workspace(UP, *ports), workspace(DOWN, find_free_port()))

    with rig_of(tmp_path_factory.mktemp("audit"), 1, make) as one:
        yield one


def audited(rig: Rig, *options: str) -> tuple[int, str, str]:
    command = ("-m", "ngpu.cli", "audit", "-c", str(rig.gateway.config_file), "--wait", "0", *options)
    done = fork_server.run(*command, cwd=ROOT, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_every_task_is_accounted_for(rig: Rig) -> None:
    up, down = rig.client(UP), rig.client(DOWN)
    for number in range(3):
        up.ended(up.submit(script(body=b"%d" % number)))
    up.ended(up.submit(script(status=500)))
    waiting = [down.submit(script()) for _ in range(2)]
    down.ask("POST", f"/user/cancelTask?taskID={waiting[0]}")
    code, out, _ = audited(rig)
    assert code == 0 and out.endswith("all is well\n")
    assert [line.split() for line in out.splitlines()[1:3]] == [
        [DOWN, "2", "1", "0", "0", "0", "1", "0"],
        [UP, "4", "0", "0", "3", "1", "0", "0"],
    ]
    with closing(sqlite3.connect(rig.gateway.config_file.parent / "ngpu.sqlite")) as db, db:
        db.execute("UPDATE queue SET queued = 7")
        db.execute("UPDATE tasks SET outcome = NULL WHERE status = 'failed'")
    code, out, err = audited(rig, "--json")
    said = json.loads(out)
    assert code == 1 and "2 findings" in err
    assert said["workspaces"][UP]["failed"] == 1
    assert {(each["rule"], each["words"]) for each in said["findings"]} == {
        ("index", "counts 7 waiting, and 1 wait"),
        ("record", "is failed without an outcome"),
    }


def test_what_waits_beside_an_idle_replica_is_found(rig: Rig) -> None:
    """Nothing of ours leaves a task behind, so this one comes in through the back door."""
    client = rig.client(UP)
    client.ended(client.submit(script(body=b"1")))
    with closing(sqlite3.connect(rig.gateway.config_file.parent / "ngpu.sqlite")) as db, db:
        db.execute(
            "UPDATE tasks SET status = 'queued', ended_at = NULL, outcome = NULL, expires_at = submitted_at + 3600"
        )

    def found() -> str:
        code, out, _ = audited(rig)
        return out if code == 1 else ""

    words = f"stuck: queue of {UP} 1 tasks wait, and 1 replicas are free and idle"
    assert words in eventually(found, "it is found", 20)
