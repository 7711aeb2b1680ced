"""`ngpu tasks`, `cancel`, `retry`, `status`, and `--watch`, at a gateway that runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from command_rig import NODE, WORKSPACE, CommandRig, command, seen
from processes import ROOT


def ended(rig: CommandRig, task: str) -> str:
    deadline = time.monotonic() + 15
    while (status := str(rig.json("tasks", "show", task)["status"])) in ("queued", "running"):
        assert time.monotonic() < deadline, "it goes on and on"
        time.sleep(0.05)
    return status


def test_tasks_are_listed_by_what_they_are_and_shown_whole(rig: CommandRig) -> None:
    done = rig.customer("submit", "--sync", "-d", json.dumps({"prompt": "no picture"}))
    assert done.code == 1 and "the task failed" in done.err
    finished = rig.submitted()
    assert ended(rig, finished) == "finished"
    listed = rig.json("tasks", "--workspace", "painting", "--since", "1h", "--node", NODE.lower())
    assert listed[0]["id"] == finished
    assert {each["status"] for each in rig.json("tasks", "--status", "failed")} == {"failed"}
    assert len(rig.json("tasks", "-n", "1")) == 1
    table = rig.admin("tasks").out
    assert "TASK" in table and finished in table and "painting" in table and "failed (" in table
    shown = rig.admin("tasks", "show", finished).out
    assert NODE in shown and f"painting ({WORKSPACE})" in shown and "sdapi/v1/img2img, port 8080" in shown
    assert rig.admin("tasks", "--address", "nobody").out == "there are no such tasks\n"


def test_a_task_is_cancelled_and_tried_again(rig: CommandRig) -> None:
    slow = rig.submitted(delay=60)
    assert rig.admin("cancel", slow).out == "cancelled\n"
    refused = rig.admin("cancel", slow)
    assert refused.code == 4 and "cancelled" in refused.err and "Traceback" not in refused.err
    assert rig.json("retry", slow)["status"] in ("queued", "running")
    assert rig.json("cancel", slow)["status"] == "cancelled"
    assert rig.admin("tasks", "show", "20200101_nothing").code == 4
    assert rig.admin("tasks", "--since", "yesterday").code == 4
    assert rig.admin("tasks", "--status", "lost").code == 2


def test_one_screen_says_how_it_stands(rig: CommandRig) -> None:
    rig.customer("submit", "--sync", "-d", json.dumps({"prompt": "no picture"}))
    screen = rig.admin("status")
    assert screen.code == 1, "one workspace is served by nobody"
    assert "ready" in screen.out and "1 of 2 serve" in screen.out and "failed" in screen.out
    assert "workspace idle: 0 of 1 replicas serve" in screen.out
    document = json.loads(rig.admin("status", "--json").out)
    assert document["ready"] and document["failures"] and len(document["trouble"]) == 1


def test_a_watch_tells_of_changes_until_ctrl_c(rig: CommandRig) -> None:
    slow = rig.submitted(delay=60)
    watching = subprocess.Popen(
        command("tasks", "show", slow, "--watch", "--every", "0.1", "--json", "-c", rig.config),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["status"] in ("queued", "running")
    rig.admin("cancel", slow)
    while json.loads(watching.stdout.readline())["status"] != "cancelled":
        pass
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=20)
    assert (watching.returncode, err) == (130, "\n")


def test_a_pipe_that_nobody_reads_ends_a_watch(rig: CommandRig) -> None:
    slow = rig.submitted(delay=60)
    watch = command("tasks", "show", slow, "--watch", "--every", "0.1", "-c", rig.config)
    with subprocess.Popen(watch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as watching:
        assert watching.stdout is not None and watching.stderr is not None
        watching.stdout.read(1)
        watching.stdout.close()
        rig.admin("cancel", slow)
        assert watching.wait(20) == 1 and watching.stderr.read() == b""


@pytest.mark.skipif(not os.path.exists("/dev/ptmx"), reason="there are no terminals here")
def test_a_terminal_shows_the_last_look_only(rig: CommandRig) -> None:
    code, painted = seen("nodes", "-w", "--every", "0.1", "-c", rig.config, interrupted_after="STATE")
    assert code == 130 and "\x1b[2J" in painted and "Ctrl-C ends it" in painted and NODE in painted
