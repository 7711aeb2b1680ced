"""`ngpu check`, `ngpu run` and `twistd ngpu`: what they print, and how they exit."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, find_free_port
from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin
from zope.interface.verify import verifyObject

from ngpu import tap
from ngpu.cli.exits import Misused
from ngpu.cli.finding import found

WRONG = """\
lissten: 3
workspaces:
  - id: "1"
    ports: {8080: 80}
    upstream: [{node: "0x73", ports: {8080: 18080}}]
    timeout: 5
    selection: {policy: least_loadd}
gates:
  ainn: {checker: static, options: {balance: {}}, tickers: [AINN]}
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    return path


def test_check_reports_settings_and_plugins_at_once_and_exits_with_2(wrong: Path) -> None:
    """An operator mends a file once, not once for each stage that looks at it."""
    done = python("-m", "ngpu.cli", "check", "-c", str(wrong))
    heads = [line.removeprefix(str(wrong)) for line in done.stderr.splitlines() if line.startswith(str(wrong))]
    assert done.returncode == 2
    assert [head.split(": ")[0] for head in heads] == [":1:1", ":5:23", ":6:14", ":7:25", ":9:46"]
    assert "selection.policy: there is no selection plugin 'least_loadd' (did you mean 'least_loaded'?)" in heads[3]
    assert "gates.ainn.options.balance: static has no such option (did you mean 'balances'?)" in heads[4]
    assert "Traceback" not in done.stderr


def test_check_looks_into_placement_blocks_too(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(
        """\
nodes: [{address: "0x73", host: h, engine: "unix:///run/docker.sock"}]
workspaces:
  - {id: "1", ports: {80: 80}, image: {reference: "h/i"}, placement: {policy: sprad}}
  - {id: "2", ports: {80: 80}, image: {reference: "h/i"}, placement: {policy: pack, options: {reserve: 1}}}
  - {id: "3", ports: {80: 80}, image: {reference: "h/i"}, placement: {options: {reserve: 1}}}
  - {id: "4", ports: {80: 80}, image: {reference: "h/i"}, selection: {options: {reserve: 1}}}
"""
    )
    done = python("-m", "ngpu.cli", "check", "-c", str(path))
    heads = [line.removeprefix(str(path)) for line in done.stderr.splitlines() if line.startswith(str(path))]
    assert done.returncode == 2 and heads == [
        ":3:79: workspaces[0].placement.policy: there is no placement plugin 'sprad' (did you mean 'spread'?); "
        "there are pack, spread",
        ":4:104: workspaces[1].placement.options.reserve: pack has no such option; it takes none",
        ":5:90: workspaces[2].placement.options.reserve: spread has no such option; it takes none",
        ":6:90: workspaces[3].selection.options.reserve: fastest has no such option; it takes sample, cold",
    ]


TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[:1] = ['twistd', '-n', '--pidfile=']; run()"


@pytest.mark.parametrize("start", [("-m", "ngpu.cli", "run"), ("-c", TWISTD, "ngpu")], ids=["ngpu", "twistd"])
def test_a_wrong_configuration_stops_the_start_with_the_same_report(wrong: Path, start: tuple[str, ...]) -> None:
    done = python(*start, "-c", str(wrong))
    assert done.returncode == 2
    assert python("-m", "ngpu.cli", "check", "-c", str(wrong)).stderr in done.stderr


def test_check_says_what_a_good_file_holds() -> None:
    done = python("-m", "ngpu.cli", "check", "-c", "config/demo.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "config/demo.yaml: can be used: 1 workspace, 1 node, 2 apps, 1 gate\n"


def test_check_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("listen: ['tcp:0']\n")
    assert python("-m", "ngpu.cli", "check", "-c", str(path)).returncode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["empty.yaml"]


def test_a_taken_port_ends_the_start_with_a_sentence_and_1(tmp_path: Path) -> None:
    path = tmp_path / "ngpu.yaml"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path.write_text(
            f"listen: ['tcp:{port}:interface=127.0.0.1']\n"
            f"admin: {{listen: ['tcp:{find_free_port()}:interface=127.0.0.1']}}\n"
        )
        done = python("-m", "ngpu.cli", "run", "-c", str(path))
    assert done.returncode == 1
    assert f"ngpu: cannot listen on tcp:{port}:interface=127.0.0.1: [Errno 98]" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_twistd_plugin_is_a_service_maker_that_imports_nothing_of_ours() -> None:
    code = (
        "import sys; sys.path.insert(0, 'twisted/plugins'); import ngpu_plugin;"
        "print([name for name in sys.modules if name == 'ngpu' or name.startswith('ngpu.')])"
    )
    assert python("-c", code).stdout == "[]\n"
    from twisted.plugins import ngpu_plugin

    assert verifyObject(IServiceMaker, ngpu_plugin.ngpu) and IPlugin.providedBy(ngpu_plugin.ngpu)
    assert (ngpu_plugin.ngpu.tapname, ngpu_plugin.ngpu.module) == ("ngpu", tap.__name__)


def test_the_admin_token_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "ngpu.yaml"
    path.write_text("{}\n")
    loaded = tap.check(path, None)
    token = tap.admin_token(loaded)
    file = tmp_path / "var/admin.token"
    assert len(token) >= 32 and tap.admin_token(loaded) == token
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("\n")
    with pytest.raises(tap.ConfigError, match="is empty"):
        tap.admin_token(loaded)


def test_a_token_that_finds_no_room_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would stop each start that follows, long after there is room again."""
    path = tmp_path / "ngpu.yaml"
    path.write_text("{}\n")
    loaded = tap.check(path, None)

    def full(descriptor: int, mode: str) -> None:
        os.close(descriptor)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdopen", full)
        with pytest.raises(tap.ConfigError, match="No space left"):
            tap.admin_token(loaded)
    assert len(tap.admin_token(loaded)) >= 32


def test_a_full_disk_at_the_output_ends_with_a_sentence_and_1() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "ngpu.cli", "plugins"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr) == (1, "Error: the output: No space left on device\n")


@pytest.mark.parametrize("content", ["", "\n", "two\nlines", "t\u00f6ken"])
def test_a_file_that_holds_no_token_is_told_before_a_gateway_is_asked(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(Misused, match="holds no admin token"):
        found(tmp_path / "none.yaml", "http://127.0.0.1:1", file)
