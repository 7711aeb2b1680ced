"""SIGHUP where there is one process, and its SQLite file is for one process at a time."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from api_rig import Rig, configuration, eventually, rig_of, workspace
from processes import find_free_port
from scripted_worker import script
from several_rig import WORKSPACE, Customers, hang_up

OTHER = "4567"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rig_of(tmp_path, 1, lambda ports: configuration(workspace(WORKSPACE, *ports, slots=8))) as one:
        yield one


def lives(rig: Rig) -> int:
    return rig.gateway.log.read_text().count("starting up")


def change(rig: Rig, **keys: object) -> None:
    config = yaml.safe_load(rig.gateway.config_file.read_text())
    rig.gateway.config_file.write_text(yaml.safe_dump({**config, **keys}))


def test_a_reload_loses_no_call_and_the_process_stays_the_same(rig: Rig) -> None:
    """Short and long calls, and connections that are kept and made anew, all the while."""
    queued = [rig.client(WORKSPACE).submit(script(delay=1, body=b"ok")) for _ in range(12)]
    with Customers(rig.gateway.url, 0, 0, 0.05, 0.3, 2) as customers:
        eventually(lambda: customers.answered > 20, "calls are answered")
        change(rig, workspaces=[workspace(each, rig.worker.port, slots=8) for each in (WORKSPACE, OTHER)])
        hang_up(rig.gateway.pid)
        eventually(lambda: lives(rig) == 2, "it was started anew")
        before = customers.answered
        eventually(lambda: customers.answered > before + 20, "calls are answered again")
    assert customers.failures == []
    assert [rig.client().ended(task)["data"] for task in queued] == ["ok"] * 12
    assert rig.client(OTHER).ended(rig.client(OTHER).submit(script(body=b"ok")))["data"] == "ok"


def test_a_configuration_that_cannot_be_used_changes_nothing(rig: Rig) -> None:
    rig.gateway.config_file.write_text(rig.gateway.config_file.read_text() + "\nprocesess: 1\n")
    hang_up(rig.gateway.pid)
    eventually(lambda: "nothing was changed" in rig.gateway.log.read_text(), "it says so")
    assert "processes: there is no such key" in rig.gateway.log.read_text().replace("procesess", "processes")
    assert rig.admin("/readyz").status_code == 200 and lives(rig) == 1


def test_what_becomes_of_the_file_after_its_check_is_for_the_next_reload(rig: Rig) -> None:
    """Calls may take 20 s to end: an editor that saves meanwhile must not leave a gateway that cannot start again.

    Who asks for a reload meanwhile gets it from the process that is there then.
    """
    with Customers(rig.gateway.url, 1.5):
        change(rig, workspaces=[workspace(each, rig.worker.port, slots=8) for each in (WORKSPACE, OTHER)])
        eventually(lambda: rig.worker.at_once, "a call is on its way")
        hang_up(rig.gateway.pid)
        eventually(lambda: "the configuration is read anew" in rig.gateway.log.read_text(), "calls end")
        rig.gateway.config_file.write_text("listen: [")
        hang_up(rig.gateway.pid)
        assert lives(rig) == 1
        eventually(lambda: lives(rig) == 2 and rig.admin("/readyz").ok, "it was started anew")
    assert rig.client(OTHER).ended(rig.client(OTHER).submit(script(body=b"ok")))["data"] == "ok"
    eventually(lambda: "nothing was changed" in rig.gateway.log.read_text(), "it has read what is there now")


def test_listeners_come_and_go(rig: Rig) -> None:
    """What cannot be listened on is found out before anything is given up."""
    config = yaml.safe_load(rig.gateway.config_file.read_text())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        change(rig, listen=[*config["listen"], f"tcp:{port}:interface=127.0.0.1"])
        hang_up(rig.gateway.pid)
        eventually(lambda: "nothing was changed: cannot listen" in rig.gateway.log.read_text(), "it says so")
        assert lives(rig) == 1
    other = find_free_port()
    change(rig, listen=[f"tcp:{other}:interface=127.0.0.1"])
    hang_up(rig.gateway.pid)
    eventually(lambda: lives(rig) == 2 and rig.admin("/readyz").ok, "it was started anew")
    with socket.create_connection(("127.0.0.1", other), 5):
        pass
    with pytest.raises(ConnectionRefusedError), socket.create_connection(rig.address, 5):
        pass


def test_a_unix_socket_is_handed_over_and_removed_in_the_end(rig: Rig) -> None:
    path = Path(tempfile.mkdtemp(prefix="ngpu-s-")) / "s"
    config = yaml.safe_load(rig.gateway.config_file.read_text())
    change(rig, listen=[*config["listen"], f"unix:{path}:mode=600"])
    for life in (2, 3):
        hang_up(rig.gateway.pid)
        eventually(lambda life=life: lives(rig) == life and rig.admin("/readyz").ok, "it was started anew")
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 404")
    rig.gateway.stop()
    assert list(path.parent.iterdir()) == []
    path.parent.rmdir()
