"""The commands of the fleet, as an operator types them, against a real gateway over real engines."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fleet_rig import NODES, WORKSPACE, FleetRig, eventually
from forked import fork_server
from processes import find_free_port

Push = Callable[..., str]
Make = Callable[..., FleetRig]


class Operator:
    """Types commands for one rig's gateway."""

    def __init__(self, rig: FleetRig) -> None:
        self._rig = rig

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, *self._words(*arguments)]

    def _words(self, *arguments: str) -> list[str]:
        return ["-m", "ngpu.cli", *arguments, "-c", str(self._rig.gateway.config_file)]

    def types(self, *arguments: str, exits: int = 0) -> str:
        """What a command prints; on standard error where it fails."""
        done = fork_server.run(*self._words(*arguments), cwd=Path.cwd(), timeout=90)
        assert done.returncode == exits, f"{done.returncode}\n{done.stdout}\n{done.stderr}\n{self._rig.gateway.tail()}"
        assert "Traceback" not in done.stderr
        return done.stderr if exits else done.stdout

    def sees(self, *arguments: str) -> str:
        """What a command paints on a terminal."""
        ours, theirs = pty.openpty()
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
        command = subprocess.Popen(self.command(*arguments), stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        painted = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end was closed
                break
            if not piece:
                break
            painted += piece
        os.close(ours)
        assert command.wait(10) == 0, painted
        return painted.decode("utf-8", "replace")


@pytest.fixture
def rig(fleet: Make, image: Push) -> FleetRig:
    made = fleet()
    made.want(image("large:2", 24 << 20), replicas=3)
    made.start()
    return made


def test_an_operator_deploys_looks_drains_and_undeploys(rig: FleetRig) -> None:
    operator = Operator(rig)
    told = operator.types("deploy", "app")
    assert re.search(rf"{NODES[0]} +\d+ %  ", told), "each node tells how far it is"
    assert "app: serving, 3 of 3 serve" in told
    nodes = operator.types("nodes")
    assert all(re.search(rf"{node} .* docker .* up .* 4 x X .* 4 .* 1 ", nodes) for node in NODES), nodes
    assert re.search(rf"{WORKSPACE} +app +file +serving +3 +3 +3 +0 +0", operator.types("workspaces"))
    shown = operator.types("workspaces", "show", "app")
    replicas = re.findall(r"^(app-\w+-\w+) ", shown, re.MULTILINE)
    assert len(replicas) == 3

    operator.types("drain", NODES[0].lower())
    eventually(lambda: not rig.containers(0), "the drained node is empty")
    rig.serving(3)
    listed = json.loads(operator.types("nodes", "--json"))
    assert [node["draining"] for node in listed] == [True, False, False]
    assert "up (draining)" in operator.types("nodes")
    operator.types("undrain", NODES[0])
    assert not json.loads(operator.types("nodes", "--json"))[0]["draining"]

    assert "app: suspended" in operator.types("undeploy", WORKSPACE)
    assert not rig.containers()
    again = json.loads(operator.types("deploy", WORKSPACE, "--json"))
    assert (again["state"], again["serving"]) == ("serving", 3)
    assert rig.call("hello").json()["data"] == "hello"


def test_a_terminal_shows_a_bar_for_each_node(rig: FleetRig) -> None:
    painted = Operator(rig).sees("deploy", "app")
    assert all(node in painted for node in NODES)
    assert "━" in painted and "100%" in painted and "serving" in painted


def test_what_a_copy_prints(fleet: Make, image: Push) -> None:
    rig = fleet(nodes=1)
    talks = (
        "/bin/busybox httpd -p 8080 -h /www; i=0; while true; do i=$((i+1)); echo line $i; /bin/busybox sleep 0.1; done"
    )
    rig.want(image(), replicas=1, command=["/bin/busybox", "sh", "-c", talks])
    rig.start()
    copy = rig.serving(1)["copies"][0]["id"]
    operator = Operator(rig)
    eventually(lambda: "line 5\n" in operator.types("logs", copy, "--tail", "1000"), "it has printed five lines")
    assert len(operator.types("logs", copy, "--tail", "2").splitlines()) == 2
    following = subprocess.Popen(operator.command("logs", copy, "-f", "--tail", "0"), stdout=subprocess.PIPE)
    try:
        assert following.stdout is not None
        lines = [following.stdout.readline() for _ in range(5)]
        assert all(re.fullmatch(rb"line \d+\n", line) for line in lines)
    finally:
        following.send_signal(signal.SIGINT)
        following.wait(10)
    assert "the fleet has no such copy" in operator.types("logs", "app-0-0", exits=4)


def test_workspaces_are_made_changed_and_deleted_out_of_files(fleet: Make, image: Push, tmp_path: Path) -> None:
    rig = fleet(nodes=2)
    rig.want(image(), replicas=1)
    rig.start()
    operator, file = Operator(rig), tmp_path / "mine.yaml"
    block = {**rig.workspaces[WORKSPACE], "id": "mine", "name": "mine"}
    file.write_text(yaml.safe_dump(block))
    assert operator.types("workspaces", "create", str(file)) == "created\n"
    assert "mine: serving, 1 of 1 serve" in operator.types("deploy", "mine")
    file.write_text(yaml.safe_dump({**block, "replicas": 2}))
    operator.types("workspaces", "replace", str(file))
    assert "mine: serving, 2 of 2 serve" in operator.types("deploy", "mine")
    file.write_text(yaml.safe_dump({**block, "replicas": -1, "gat": "x"}))
    refused = operator.types("workspaces", "replace", str(file), exits=4)
    assert "replicas: must be 0 or more" in refused and "gat: there is no such key" in refused
    assert "read-only" in operator.types("workspaces", "delete", "-y", WORKSPACE, exits=4)
    operator.types("workspaces", "delete", "-y", "mine")
    eventually(lambda: not rig.containers(id="mine"), "its copies are gone")
    assert "no workspace" in operator.types("workspaces", "show", "mine", exits=4)


def test_what_cannot_be_is_told_with_the_status_that_says_so(fleet: Make, image: Push) -> None:
    rig = fleet(nodes=1)
    rig.want(image(), replicas=2, gpus={"type": "Y", "count": 1})
    rig.start()
    operator = Operator(rig)
    failed = operator.types("deploy", "app", exits=1)
    assert "app: failed, 0 of 2 serve" in failed and f"{NODES[0]}: " in failed and "type Y" in failed
    assert "there is no node of this address" in operator.types("drain", "0xAB", exits=4)
    rig.gateway.stop()
    told = operator.types("nodes", exits=3)
    assert f"no gateway answers at {rig.gateway.admin}: " in told and "refused" in told
    nowhere = f"http://127.0.0.1:{find_free_port()}"
    token = rig.gateway.config_file.parent / "var/admin.token"
    assert nowhere in operator.types("nodes", "--admin", nowhere, "--token-file", str(token), exits=3)
    assert "cannot be read" in operator.types("nodes", "--token-file", str(token) + "x", exits=2)
