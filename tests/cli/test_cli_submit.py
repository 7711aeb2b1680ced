"""`ngpu submit` and `wait`: what is sent, what is written, and how they end."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest
from command_rig import JOB, KEY, PICTURE, CommandRig, command, seen, typed
from processes import ROOT, find_free_port


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    file.write_bytes(b64decode(PICTURE))
    return file


def test_a_picture_goes_in_and_a_picture_comes_out(rig: CommandRig, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.png"
    done = rig.customer("submit", "--sync", "--image", str(photo), "-d", '{"prompt": "a cat"}', "-o", str(out))
    assert done.code == 0 and done.out == "" and f"wrote {out}" in done.err
    assert out.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_a_task_is_waited_for_later(rig: CommandRig, tmp_path: Path) -> None:
    data, out = tmp_path / "data.json", tmp_path / "result.json"
    data.write_text(json.dumps({**JOB, "delay": 1.5}))
    task = rig.customer("submit", "-d", f"@{data}", "--priority", "high").out.strip()
    late = rig.customer("wait", task, "--timeout", "50ms")
    assert late.code == 5 and "goes on" in late.err and task in late.err
    done = rig.customer("wait", task, "-o", str(out))
    assert done.code == 0 and "running" in done.err and json.loads(out.read_text())["images"]
    told = json.loads(rig.customer("wait", task, "--json").out)
    assert (told["id"], told["status"]) == (task, "finished") and told["data"]["images"]
    shown = rig.customer("submit", "--wait", "-d", f"@{data}")
    assert shown.code == 0 and json.loads(shown.out)["images"]
    first = rig.customer("submit", "-d", f"@{data}", "--idempotency-key", "one")
    assert rig.customer("submit", "-d", f"@{data}", "--idempotency-key", "one").out == first.out


def test_a_terminal_sees_how_it_stands(rig: CommandRig) -> None:
    env = {"NGPU_URL": rig.gateway.url, "NGPU_KEY": KEY}
    code, painted = seen("submit", "--wait", "-d", json.dumps({**JOB, "delay": 2}), env=env)
    assert code == 0 and "\r\x1b[Krunning" in painted and '"images"' in painted


def test_what_does_not_come_about(rig: CommandRig, photo: Path, tmp_path: Path) -> None:
    """Each ends with a sentence and a code that says which kind it is."""
    failed = rig.customer("submit", "--wait", "-d", "{}")
    assert failed.code == 1 and "the task failed" in failed.err
    assert typed("submit", "-d", "{}", "--url", rig.gateway.url, "--key", "wrong").code == 4
    assert rig.customer("wait", "20200101_nothing").code == 4
    nobody = f"http://127.0.0.1:{find_free_port()}"
    done = typed("wait", "x", "--url", nobody)
    assert done.code == 3 and f"no gateway answers at {nobody}" in done.err
    for arguments in (
        ("-d", "@/does/not/exist"),
        ("--url", "127.0.0.1:8080"),
        ("--url", "http://127.0.0.1:99999"),
        ("--url", "http://[::1"),
        ("--key", "käse"),
        ("--image", str(photo), "-d", "no object"),
        ("-o", "x.png"),
        ("--timeout", "soon", "--wait"),
        ("--port", "0"),
    ):
        done = rig.customer("submit", "-d", "{}", *arguments)
        assert done.code == 2, (arguments, done)
    unwritable = rig.customer("submit", "--sync", "-d", json.dumps(JOB), "-o", str(tmp_path / "none" / "x.png"))
    assert unwritable.code == 1 and "No such file" in unwritable.err
    assert rig.admin("tasks", "--admin", nobody).code == 3
    assert rig.admin("tasks", "--admin", "ftp://x").code == 2
    assert rig.admin("tasks", "--admin", "http://127.0.0.1:99999").code == 2
    wrong = tmp_path / "token"
    wrong.write_text("wrong\n")
    assert rig.admin("tasks", "--token-file", str(wrong)).code == 4
    assert rig.admin("cancel", "\udcff").code == 2
    assert rig.customer("submit", "--app", "\udcff").code == 2
    # a worker is no gateway, and answers no JSON
    no_gateway = rig.admin("tasks", "--admin", rig.worker.url)
    assert no_gateway.code == 3 and "admin listener" in no_gateway.err
    assert typed("wait", "x", "--url", rig.worker.url).code == 3


def test_standard_input_is_sent(rig: CommandRig) -> None:
    done = subprocess.run(
        command("submit", "--sync", "-d", "@-", "--url", rig.gateway.url, "--key", KEY),
        input=json.dumps(JOB).encode(),
        capture_output=True,
        cwd=ROOT,
        timeout=30,
    )
    assert done.returncode == 0 and json.loads(done.stdout)["images"]
