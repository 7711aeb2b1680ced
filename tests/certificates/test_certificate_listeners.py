"""Certificates of listeners: what `ngpu check` says of them, and sockets that were handed over."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest_twisted
from certificate_files import DAY, Authority
from click.testing import CliRunner
from h2_client import client_context
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from ngpu.cli import main
from ngpu.processes.sockets import Sockets


def written(folder: Path, authority: Authority, days: int) -> str:
    chain, key = authority.issue(DAY * days, begins=-DAY * 40)
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(key)
    return f"privateKey={folder}/key.pem:certKey={folder}/chain.pem"


def test_what_check_says_of_them(tmp_path: Path) -> None:
    """An expired one is an error to `check`, with its place; a start is not refused for it."""
    authority = Authority(tmp_path)
    file = tmp_path / "ngpu.yaml"

    def check(listen: str) -> tuple[int, str]:
        file.write_text(f"admin: {{listen: ['{listen}']}}\n")
        result = CliRunner().invoke(main, ["check", "-c", str(file)])
        return result.exit_code, result.output

    files = written(tmp_path, authority, 30)
    assert check(f"ssl:443:{files}")[0] == 0
    assert check(f"systemd:domain=INET:name=web:{files}")[0] == 0
    written(tmp_path, authority, -3)
    code, told = check(f"ssl:443:{files}")
    assert code == 2
    assert f":1:18: admin.listen[0]: the certificate {tmp_path}/chain.pem expired on 20" in told
    (tmp_path / "key.pem").write_bytes(authority.issue()[1])
    code, told = check(f"ssl:443:{files}")
    assert code == 2
    assert f"the key {tmp_path}/key.pem does not belong to the certificate {tmp_path}/chain.pem" in told


class Hello(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_tls_on_a_socket_of_systemd_and_with_other_files_on_the_same_one(tmp_path: Path) -> None:
    from twisted.internet import reactor

    authority = Authority(tmp_path)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    plain = "systemd:domain=INET:name=web"
    sockets = Sockets(reactor, {plain: listener.detach()}, shared=False)
    description = f"{plain}:{written(tmp_path, authority, 30)}"
    await sockets.listen(description, Factory.forProtocol(Hello))
    assert plain in sockets
    assert description in sockets
    assert [*sockets.descriptors(description)] == [plain]

    def talk() -> bytes:
        raw = socket.create_connection(("127.0.0.1", port), 10)
        with client_context(str(authority.file)).wrap_socket(raw, server_hostname="127.0.0.1") as wire:
            return wire.recv(5)

    assert await deferToThread(talk) == b"hello"
    sockets.certificates.stop()
    await sockets.close()
