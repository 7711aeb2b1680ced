"""What people type by mistake: files that are none, variables that are empty, places where no file can be."""

from __future__ import annotations

import io
import json
import os
import shlex
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from command_rig import JOB, KEY, CommandRig, command, seen, typed
from processes import ROOT

from ngpu.client import Client, ClientError

BOMB = "id: x\na: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "more than 100000 values"),
        ("id: " + "[" * 5000, "deep"),
        ("id: x\nid: y\n", "id: is here twice; line 1 has it"),
        ("id: x\n---\nid: y\n", "a second document begins here"),
        ("id: x\nslots: .nan\n", ".inf and .nan"),
        ("id: x\na: &a [*a]\n", "stands inside of what it repeats"),
        ("id: x\n? [1]\n: 2\n", "a key must be a plain name"),
        ('id: "\\ud800"\n', "not valid YAML"),
        ("- id: x\n", "must hold one block"),
        ("", "the file is empty"),
        (b"id: \xff\n", "is not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("command", ["create", "replace"])
def test_a_file_that_holds_no_workspace(
    rig: CommandRig, tmp_path: Path, command: str, text: str | bytes, told: str
) -> None:
    file = tmp_path / "block.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = rig.admin("workspaces", command, str(file))
    assert done.code == 2 and told in done.err, done


def test_a_date_is_a_text_as_it_is_in_the_configuration(rig: CommandRig, tmp_path: Path) -> None:
    file = tmp_path / "block.yaml"
    file.write_text("id: x\nname: 2026-01-01\n")
    done = rig.admin("workspaces", "create", str(file))
    assert done.code == 4 and "ports: is missing" in done.err and "name:" not in done.err, done


def test_a_whole_configuration_names_no_workspace_to_replace(rig: CommandRig) -> None:
    done = rig.admin("workspaces", "replace", rig.config)
    assert done.code == 2 and "does not say which workspace it is" in done.err, done


@pytest.mark.parametrize(
    "words",
    [
        ("tasks", "show"),
        ("cancel",),
        ("retry",),
        ("workspaces", "show"),
        ("workspaces", "delete", "-y"),
        ("deploy",),
        ("undeploy",),
        ("drain",),
        ("undrain",),
    ],
)
def test_a_variable_that_is_not_set_names_nothing(rig: CommandRig, words: tuple[str, ...]) -> None:
    done = rig.admin(*words, "")
    assert done.code == 2 and "empty" in done.err, done


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("submit", "-d", "@"), "@ names no file"),
        (("submit", "--idempotency-key", ""), "empty"),
        (("submit", "--idempotency-key", "a\nb"), "Idempotency-Key is of visible ASCII"),
        (("submit", "--idempotency-key", "clé"), "Idempotency-Key is of visible ASCII"),
        (("submit", "--url", "http://somebody:secret@localhost:8080"), "the gateway's URL must be such as"),
        (("wait", ""), "empty"),
        (("bench", "http://localhost:8080", "-t", "0"), "--duration"),
    ],
)
def test_what_was_not_understood_is_asked_of_no_gateway(rig: CommandRig, words: tuple[str, ...], told: str) -> None:
    done = rig.customer(*words)
    assert done.code == 2 and told in done.err, done


def test_bytes_with_an_address_that_no_header_can_hold() -> None:
    with Client("http://127.0.0.1:9", "key") as client, pytest.raises(ClientError, match="BtcAddress is of visible"):
        client.submit(b"\x00", btc_address="é")


def test_where_no_result_can_be_written_no_work_begins(rig: CommandRig, tmp_path: Path) -> None:
    before = len(rig.json("tasks"))
    nowhere = tmp_path / "none" / "x.png"
    for words in (("submit", "--sync", "-d", json.dumps(JOB)), ("wait", "20200101_nothing")):
        done = rig.customer(*words, "-o", str(nowhere))
        assert done.code == 1 and f"{nowhere} cannot be written: No such file" in done.err, done
    assert len(rig.json("tasks")) == before


def test_a_result_goes_through_pipes_and_links_and_takes_no_place_of_theirs(rig: CommandRig, tmp_path: Path) -> None:
    """As root a device such as /dev/null was replaced by a file."""
    pipe, link, file = tmp_path / "pipe", tmp_path / "link.json", tmp_path / "file.json"
    task = rig.submitted()
    os.mkfifo(pipe)
    came: list[bytes] = []
    reader = threading.Thread(target=lambda: came.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert rig.customer("wait", task, "-o", str(pipe)).code == 0
    reader.join(10)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and json.loads(came[0])["images"]
    link.symlink_to(file)
    assert rig.customer("wait", task, "-o", str(link)).code == 0
    assert link.is_symlink() and json.loads(file.read_text())["images"]


def test_init_takes_no_place_of_a_pipe_or_a_link(tmp_path: Path) -> None:
    pipe, link, file = tmp_path / "pipe", tmp_path / "link.yaml", tmp_path / "file.yaml"
    os.mkfifo(pipe)
    link.symlink_to(file)
    for words in ((str(pipe),), (str(file), "--key-file", str(pipe)), (str(file), "--key-file", str(link))):
        done = typed("init", "-y", "--force", *words)
        assert done.code == 1 and "is not a regular file, and was left as it is" in done.err, done
    assert stat.S_ISFIFO(pipe.stat().st_mode) and link.is_symlink() and not file.exists()
    assert typed("init", "-y", "--force", str(link)).code == 0
    assert link.is_symlink() and "workspaces:" in file.read_text()


def test_a_workspace_has_a_name(tmp_path: Path) -> None:
    done = typed("init", "-y", str(tmp_path / "a.yaml"), "--name", " ")
    assert done.code == 2 and "--name" in done.err and not (tmp_path / "a.yaml").exists()


@pytest.mark.parametrize(
    "words",
    [("status", "--watch", "--every", "nan"), ("audit", "--wait", "nan"), ("deploy", "x", "--timeout", "nan")],
)
def test_what_is_no_number_is_in_no_range(words: tuple[str, ...]) -> None:
    done = typed(*words)
    assert done.code == 2 and "'nan' is no number" in done.err, done


@pytest.mark.parametrize("content", ["x" * 100_000, "\0" * 100_000])
def test_a_file_that_is_no_token_is_not_read_to_its_end(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    done = typed("nodes", "--admin", "http://127.0.0.1:9", "--token-file", str(file))
    assert done.code == 2 and f"{file} holds no admin token" in done.err, done


def test_a_token_that_never_ends(tmp_path: Path) -> None:
    done = typed("nodes", "--admin", "http://127.0.0.1:9", "--token-file", "/dev/zero")
    assert done.code == 2 and "holds no admin token" in done.err, done


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("submit --sync -d @-", "Error: no gateway answers"),
        ("account a@b", "Error: the password is empty"),
        ("init not-there.yaml", "Aborted!"),
        ("workspaces delete x", "Aborted!"),
    ],
)
def test_standard_input_that_is_closed_holds_nothing(tmp_path: Path, words: str, told: str) -> None:
    line = f"{shlex.join(command(*words.split()))} <&-"
    env = {**os.environ, "NGPU_URL": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60)
    assert done.returncode in (1, 2, 3) and told in done.stderr and "Traceback" not in done.stderr, done


@pytest.mark.parametrize("way", ["2>&-", "2>/dev/full"])
def test_a_result_is_there_where_nothing_can_be_said_beside_it(rig: CommandRig, tmp_path: Path, way: str) -> None:
    task, file = rig.submitted(), tmp_path / "result.json"
    env = {**os.environ, "NGPU_URL": rig.gateway.url, "NGPU_KEY": KEY}
    line = shlex.join(command("wait", task))
    for more in ("", f" -o {file}"):
        done = subprocess.run(["sh", "-c", f"{line}{more} {way}"], stdout=-1, env=env, cwd=ROOT, timeout=60)
        assert done.returncode == 0, done
        assert json.loads(file.read_bytes() if more else done.stdout)["images"]


class _Interrupted(io.StringIO):
    """A terminal at which Ctrl-C is pressed while a line is waited for."""

    def readline(self, size: int | None = -1, /) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("words", [("init", "not-there.yaml"), ("workspaces", "delete", "x")])
def test_ctrl_c_at_a_question(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    for stdin, code in ((_Interrupted(), 130), (io.StringIO(), 1)):
        monkeypatch.setattr("sys.stdin", stdin)
        done = typed(*words)
        assert (done.code, "Aborted!" in done.err) == (code, code == 1), done


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files can be made, and a descriptor takes nothing: what `open` writes through ends as on a full disk."""
    real = os.fdopen

    def full(descriptor: int, *arguments: Any, **named: Any) -> Any:
        os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)
        return real(descriptor, *arguments, **named)

    monkeypatch.setattr("os.fdopen", full)
    monkeypatch.setattr("os.fchmod", lambda descriptor, mode: None)


@pytest.mark.usefixtures("full_disk")
def test_init_on_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    file, key = tmp_path / "a.yaml", tmp_path / "key"
    done = typed("init", "-y", str(file), "--key-file", str(key))
    assert done.code == 1 and f"Error: {file} cannot be written: No space" in done.err, done
    assert not list(tmp_path.iterdir())
    key.write_text("the key that customers have")
    file.write_text("what serves")
    assert typed("init", "-y", "--force", str(file), "--key-file", str(key)).code == 1
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "a.yaml": "what serves",
        "key": "the key that customers have",
    }


def test_a_key_that_cannot_be_written_leaves_no_configuration_without_a_key(tmp_path: Path) -> None:
    file, key = tmp_path / "a.yaml", tmp_path / "none" / "key"
    done = typed("init", "-y", str(file), "--key-file", str(key))
    assert done.code == 1 and f"{key} cannot be written: No such file" in done.err, done
    assert not list(tmp_path.iterdir())


def test_a_plugin_that_finds_no_room_leaves_no_file_in_the_way_of_the_next_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = Path.open

    def full(self: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if mode != "x":
            return real(self, mode, *arguments, **named)
        self.touch(exist_ok=False)
        return open("/dev/full", "w", encoding="utf-8")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        done = typed("plugins", "new", "selection", "mine", "--into", str(tmp_path))
        assert done.code == 1 and "No space left on device" in done.err, done
    assert typed("plugins", "new", "selection", "mine", "--into", str(tmp_path)).code == 0


def test_a_folder_that_cannot_be_written_is_told_before_the_work_begins(
    rig: CommandRig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = len(rig.json("tasks"))
    with monkeypatch.context() as patched:
        patched.setattr("os.access", lambda path, mode: False)  # to root no folder is closed
        done = rig.customer("submit", "--sync", "-d", json.dumps(JOB), "-o", str(tmp_path / "x.png"))
    assert done.code == 1 and "x.png cannot be written: Permission denied" in done.err, done
    assert len(rig.json("tasks")) == before


def test_a_result_that_finds_no_room_can_be_had_once_more(rig: CommandRig, tmp_path: Path) -> None:
    done = rig.customer("submit", "--sync", "-d", json.dumps(JOB), "-o", "/dev/full")
    told = "Error: /dev/full cannot be written: No space left on device; the result is that of the task "
    assert done.code == 1 and told in done.err, done
    file = tmp_path / "result.json"
    assert rig.customer("wait", done.err.strip().rpartition(" ")[2], "-o", str(file)).code == 0
    assert json.loads(file.read_bytes())["images"]


def test_ctrl_c_while_a_submitted_task_is_waited_for_names_it(rig: CommandRig) -> None:
    words = ("submit", "--wait", "-d", json.dumps({**JOB, "delay": 60}))
    code, painted = seen(*words, interrupted_after="running", env={"NGPU_URL": rig.gateway.url, "NGPU_KEY": KEY})
    assert code == 130 and "the task goes on: " in painted, painted
    task = painted.rpartition("the task goes on: ")[2].split()[0]
    assert rig.json("tasks", "show", task)["status"] == "running"
    assert rig.admin("cancel", task).code == 0
