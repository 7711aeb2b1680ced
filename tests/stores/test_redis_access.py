"""The ways to a Redis: Unix sockets, databases, users, TLS, and sentinels that say where the master is now."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import pytest_twisted
from page_blocks import told
from redis_server import KEPT, RedisServer, Start
from redis_store import eventually, keys, made, opened
from task_stores import DONE, HERE, pattern, sample, whole

from ngpu.errors import ConfigError, StoreUnavailable
from ngpu.listing import TaskQuery
from ngpu.model import CHUNK, BytesBody
from ngpu.stores.redis import Address, address_of, trusted

EMPTY = BytesBody()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", Address("h")),
        ("redis://h:7000/3", Address("h", 7000, database=3)),
        ("redis://[::1]:7000", Address("::1", 7000)),
        ("rediss://h/0", Address("h", tls=True)),
        ("redis://u:p%40%2Fw@h", Address("h", username="u", password="p@/w")),
        ("redis://:pw@h", Address("h", password="pw")),
        ("unix:///run/r.sock", Address(path="/run/r.sock")),
        ("unix:///run/a%20b?db=2", Address(path="/run/a b", database=2)),
        ("unix://u:pw@/run/r.sock", Address(path="/run/r.sock", username="u", password="pw")),
    ],
)
def test_urls(url: str, address: Address) -> None:
    assert address_of(url) == address
    assert "pw" not in f"{address} {address!r}"


def test_urls_with_sentinels_name_the_master() -> None:
    address = address_of("redis://u:pw@myMaster/2", ["10.0.0.1:26380", "h", "[::1]:5"])
    assert address.sentinels == (("10.0.0.1", 26380), ("h", 26379), ("::1", 5))
    assert (address.host, address.database, address.username) == ("myMaster", 2, "u")


@pytest.mark.parametrize(
    ("url", "sentinels", "path"),
    [
        *((url, [], ("url",)) for url in (5, "", "h", "http://h", "redis://", "redis://h:x", "redis://h:99999")),
        *((url, [], ("url",)) for url in ("redis://h/x", "redis://h/0?a=b", "redis://h#x", "redis://h h", "unix://h/s")),
        *((url, [], ("url",)) for url in ("unix:///", "unix:///s?x=1", "redis://h/-1", "redis://a_b-/", "redis://h/1/2")),
        ("redis://m:1", ["h"], ("url",)),
        ("unix:///s", ["h"], ("url",)),
        ("redis://m", "h", ("sentinels",)),
        ("redis://m", 5, ("sentinels",)),
        ("redis://m", [5], ("sentinels", 0)),
        ("redis://m", ["h", "h:x"], ("sentinels", 1)),
        ("redis://m", ["h:0"], ("sentinels", 0)),
    ],
)  # fmt: skip
def test_urls_that_will_not_do(url: object, sentinels: object, path: tuple[str | int, ...]) -> None:
    with pytest.raises(ConfigError) as refused:
        address_of(url, sentinels)
    assert refused.value.path == path


async def works(url: str, sentinels: Sequence[str] = (), **options: object) -> None:
    """A task's whole life, and the ids that look like numbers."""
    store = await opened(url, sentinels, **options)
    data = pattern(CHUNK + 5)
    await store.add(sample("0123", workspace="000000000000004", request_size=len(data)), BytesBody(data))
    task = await store.claim("000000000000004", HERE, 1001.0)
    assert task is not None and task.id == "0123"
    assert await whole(store.request_body(task)) == data
    assert await store.finish("0123", task.attempt, DONE, 1002.0, (0, b"1e5"))
    assert (await store.list(TaskQuery("000000000000004"))).ids == ("0123",)
    await store.documents.put("shelf", "0123", {"a": "0123"})
    assert await store.documents.documents("shelf") == {"0123": {"a": "0123"}}
    assert await store.documents.delete("shelf", "0123")
    while await store.purge({}, 9e9):
        pass
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_and_a_database(start: Start) -> None:
    server = start()
    await works(f"unix://{server.socket}?db=3")
    await works(f"{server.url}/5")
    assert "db3:keys=" in server.ask("INFO", "keyspace") and "db5:keys=" in server.ask("INFO", "keyspace")
    assert keys(server) == []
    with pytest.raises(ConfigError, match="refuses database 99"):
        await opened(f"{server.url}/99")


@pytest_twisted.ensureDeferred
async def test_a_user_that_may_no_more_than_it_needs(start: Start) -> None:
    server = start()
    (shown,) = told("rights in Redis")
    assert server.ask(*shown.text.split()) == "+OK\r\n"
    await works(f"redis://gateway:secret@127.0.0.1:{server.port}")
    with pytest.raises(ConfigError, match="give its user &other:"):
        await opened(f"redis://gateway:secret@127.0.0.1:{server.port}", prefix="other")
    server.ask("ACL", "SETUSER", "gateway", "&other:*")
    server.ask("ACL", "SETUSER", "default", "off")
    with pytest.raises(ConfigError, match="NOAUTH"):
        await opened(server.url)
    with pytest.raises(StoreUnavailable, match="NOPERM"):
        await opened(f"redis://gateway:secret@127.0.0.1:{server.port}", prefix="other")


def certified(folder: Path, name: str, *names: str) -> tuple[Path, Path]:
    """A certificate for these names and its key, signed by itself: an authority of its own."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    alternatives = ",".join(f"IP:{each}" if each[0].isdigit() else f"DNS:{each}" for each in names)
    files = ["-out", str(certificate), "-keyout", str(key), "-addext", f"subjectAltName={alternatives}"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return certificate, key


@pytest_twisted.ensureDeferred
async def test_tls_is_verified(start: Start, tmp_path: Path, free_port: int) -> None:
    certificate, key = certified(tmp_path, "server", "localhost", "127.0.0.1")
    other, _ = certified(tmp_path, "other", "localhost")
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate))
    start(*KEPT, "--tls-port", str(free_port), *files, "--tls-auth-clients", "no")
    await works(f"rediss://localhost:{free_port}", trust=trusted(certificate))
    await works(f"rediss://127.0.0.1:{free_port}", trust=trusted(certificate))
    for trust in (None, trusted(other)):
        with pytest.raises(StoreUnavailable, match="certificate"):
            await made(f"rediss://localhost:{free_port}", trust=trust, timeout=1.0).open()
    with pytest.raises(StoreUnavailable):
        await made(f"redis://localhost:{free_port}", timeout=1.0).open()


@pytest_twisted.ensureDeferred
async def test_a_certificate_for_another_host_is_refused(start: Start, tmp_path: Path, free_port: int) -> None:
    certificate, key = certified(tmp_path, "server", "elsewhere.example")
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate))
    start(*KEPT, "--tls-port", str(free_port), *files, "--tls-auth-clients", "no")
    with pytest.raises(StoreUnavailable, match="its certificate is for another host"):
        await made(f"rediss://localhost:{free_port}", trust=trusted(certificate), timeout=1.0).open()


BROKEN = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"


@pytest.mark.parametrize("text", [None, "", "no certificate", BROKEN])
def test_files_that_hold_no_authority(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        trusted(file)
    assert refused.value.path == ("ca",)


SENTINEL = """\
sentinel monitor theMaster 127.0.0.1 {port} 2
sentinel down-after-milliseconds theMaster 500
sentinel failover-timeout theMaster 3000
requirepass watch
sentinel sentinel-pass watch
"""


def watched(start: Start) -> tuple[list[RedisServer], list[str]]:
    """A master, a replica that follows it, and three sentinels."""
    master = start()
    replica = start(*KEPT, "--replicaof", f"127.0.0.1 {master.port}", "--repl-diskless-sync-delay", "0")
    sentinels = [start(sentinel=SENTINEL.format(port=master.port)) for _ in "123"]
    return [master, replica], [f"127.0.0.1:{sentinel.port}" for sentinel in sentinels]


@pytest_twisted.ensureDeferred
async def test_sentinels_lead_to_the_next_master(start: Start, free_port: int) -> None:
    (master, replica), sentinels = watched(start)
    store = await opened(
        "redis://theMaster", [f"127.0.0.1:{free_port}", *sentinels], sentinel_password="watch", timeout=20.0
    )
    await store.add(sample("before"), EMPTY)
    await eventually(lambda: "master_link_status:up" in replica.ask("INFO", "replication"), "the replica follows")
    await eventually(lambda: "ngpu:task:before" in keys(replica), "the replica has the task")
    master.kill9()
    began = time.monotonic()
    await store.add(sample("after"), EMPTY)
    print(f"\na write waited {time.monotonic() - began:.1f} s for the failover")
    assert "role:master" in replica.ask("INFO", "replication")
    assert set((await store.list(TaskQuery("w"))).ids) == {"before", "after"}
    await store.close()


@pytest_twisted.ensureDeferred
async def test_sentinels_that_know_no_such_master(start: Start) -> None:
    _, sentinels = watched(start)
    with pytest.raises(StoreUnavailable, match="no master that is called another"):
        await made("redis://another", sentinels, sentinel_password="watch", timeout=1.0).open()
    with pytest.raises(StoreUnavailable, match="NOAUTH"):
        await made("redis://theMaster", sentinels, timeout=1.0).open()
