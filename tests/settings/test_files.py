"""Files: what cannot be read is one clear line, and where relative paths are taken from."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ngpu.settings import MAX_FILE, SettingsError, load, loads


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_files_that_are_not_there_or_no_files(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert refusal(missing) == f"{missing}: there is no such file"
    assert refusal(tmp_path) == f"{tmp_path}: is a directory"
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == f"{tmp_path / 'fifo'}: is not a regular file"
    assert refusal(Path("/dev/zero")) == "/dev/zero: is not a regular file"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert refusal(tmp_path / "socket") == f"{tmp_path / 'socket'}: is not a regular file"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refusal(tmp_path / "loop").startswith(f"{tmp_path / 'loop'}: cannot be read: Too many levels")
    assert refusal(tmp_path / "a" / "b") == f"{tmp_path / 'a' / 'b'}: there is no such file"
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file" / "b").endswith("cannot be read: Not a directory")
    assert refusal(Path("a\0b")) == "a\ufffdb: cannot be read: the name is not valid"
    assert refusal(tmp_path / ("n" * 300)).endswith("cannot be read: File name too long")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """As somebody who is not root, for root may read everything."""
    path = tmp_path / "ngpu.yaml"
    path.write_text("{}")
    path.chmod(0)
    code = (
        "import os, sys, pathlib, ngpu.settings as s\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try: s.load(pathlib.Path(sys.argv[1]))\n"
        "except s.SettingsError as error: print(error)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert shown.stdout == f"{path}: cannot be read: Permission denied\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty; an example stands in config/ngpu.yaml"),
        (b"a: 1\nb: \xff\xfe", "is not UTF-8 text: byte 0xff in line 2"),
        ("processes: 1".encode("utf-16"), "is not UTF-8 text: byte 0xff in line 1"),
        (b"#" * (MAX_FILE + 1), "is larger than 4 MiB, the most that a configuration may have"),
    ],
    ids=["empty", "bytes", "utf-16", "large"],
)
def test_files_that_hold_no_configuration(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "ngpu.yaml"
    path.write_bytes(data)
    assert refusal(path) == f"{path}: {message}"


def test_a_file_of_just_the_limit_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "ngpu.yaml"
    text = b"\xef\xbb\xbfprocesses: 1\r\n"
    path.write_bytes(text + b"#" * (MAX_FILE - len(text)))
    assert load(path).settings.processes == 1


def test_relative_paths_are_taken_from_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "ngpu.yaml").write_text("plugins: {path: [mine, /opt/theirs]}\nadmin: {token_file: token}\n")
    monkeypatch.chdir(tmp_path)
    settings = load(Path("etc/ngpu.yaml")).settings
    assert settings.folder == tmp_path / "etc"
    assert settings.media.folder == tmp_path / "etc/var/media"
    assert settings.admin.token_file == tmp_path / "etc/token"
    assert settings.plugins.path == (tmp_path / "etc/mine", Path("/opt/theirs"))


def test_messages_name_the_file_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ngpu.yaml").write_text("processes: 0\n")
    monkeypatch.chdir(tmp_path)
    assert (
        refusal(Path("ngpu.yaml")) == "ngpu.yaml:1:12: processes: must be 1 or more\n    processes: 0\n               ^"
    )


def test_reading_settings_installs_no_reactor() -> None:
    """``twistd --reactor`` chooses one, after the options were read."""
    code = (
        "import sys, pathlib, ngpu.settings as s\n"
        "s.loads('listen: [tcp:80, unix:/x, tcp6:80]', 'f', pathlib.Path('/'))\n"
        "assert 'twisted.internet.reactor' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_same_text_gives_equal_settings_that_nobody_can_change() -> None:
    """A reload compares; and what many rooms share must not change under them."""
    text = "gates: {g: {checker: c, tickers: [AINN]}}\nnodes: [{address: a, host: h, labels: {area: eu}}]"
    one, two = loads(text, "f", Path("/")).settings, loads(text, "f", Path("/")).settings
    assert one == two
    assert one != loads(text.replace("eu", "us"), "f", Path("/")).settings
    for change in ("one.gates['x'] = 1", "one.nodes[0].labels['x'] = 'y'", "one.processes = 2", "del one.gates['g']"):
        with pytest.raises((TypeError, ValueError)):
            exec(change, {"one": one})
