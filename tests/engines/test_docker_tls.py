"""A Docker daemon over mutual TLS: whom the options name is trusted, and nobody else, whatever the environment says."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from docker_bed import Bed
from docker_engine import Certificates, run
from engine_labs import docker_engine
from odd_daemon import odd_daemon, ok
from twisted.internet import reactor
from twisted.logger import LogEvent, globalLogPublisher

from ngpu.errors import ConfigError, EngineError, EngineUnreachable
from ngpu.interfaces import PluginContext
from ngpu.plugins.docker import docker


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory, bed: Bed) -> Certificates:
    """Of another authority, and for another host."""
    return Certificates(tmp_path_factory.mktemp("strangers") / "tls", ["192.0.2.1"], "nobody.test")


def make(options: dict[str, Any], folder: str = ".") -> Any:
    return docker.from_options({"timeout": "5s", **options}, PluginContext(reactor, None, folder))


def files(ca: Path, identity: tuple[Path, Path]) -> dict[str, str]:
    return {"ca": str(ca), "cert": str(identity[0]), "key": str(identity[1])}


@pytest_twisted.ensureDeferred
async def test_the_environment_neither_weakens_nor_diverts(
    bed: Bed, strangers: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = bed.engines[0].certificates
    assert own is not None
    with odd_daemon(ok(b"{}")) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(strangers.ca))
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{proxy.port}")
        engine = docker_engine(bed.engines[0], reactor, "tcp")
        assert (await engine.info()).version
        await engine.close()
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(own.ca))
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "")
        wrong = make({"url": bed.engines[0].tcp, **files(strangers.ca, own.client)})
        with pytest.raises(EngineUnreachable, match="certificate"):
            await wrong.info()
        await wrong.close()
        assert proxy.asked == []


@pytest_twisted.ensureDeferred
async def test_who_asks_needs_a_certificate_of_the_same_authority(bed: Bed, strangers: Certificates) -> None:
    own = bed.engines[0].certificates
    assert own is not None
    stranger = make({"url": bed.engines[0].tcp, **files(own.ca, strangers.client)})
    with pytest.raises(EngineUnreachable):
        await stranger.info()
    await stranger.close()
    plain = make({"url": bed.engines[0].tcp})
    with pytest.raises(EngineError):
        await plain.info()
    await plain.close()


@contextmanager
def tls_server(certificates: Certificates) -> Iterator[int]:
    """Takes connections with a server's certificate, and says nothing."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificates.server)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                stream, _ = listener.accept()
                with suppress(OSError):
                    context.wrap_socket(stream, server_side=True).close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest_twisted.ensureDeferred
async def test_the_certificate_has_to_be_for_the_host(strangers: Certificates) -> None:
    with tls_server(strangers) as port:
        engine = make({"url": f"tcp://127.0.0.1:{port}", **files(strangers.ca, strangers.client)})
        with pytest.raises(EngineUnreachable, match=r"certificate is not valid for '127\.0\.0\.1'"):
            await engine.info()
        await engine.close()


def test_files_that_cannot_be_used_stop_the_start(bed: Bed, strangers: Certificates, tmp_path: Path) -> None:
    own = bed.engines[0].certificates
    assert own is not None
    right = {"url": "tcp://127.0.0.1:2376", **files(own.ca, own.client)}
    locked = tmp_path / "locked.key"
    run("openssl", "ec", "-in", str(own.client[1]), "-aes128", "-passout", "pass:secret", "-out", str(locked))
    for options, path, words in (
        ({**right, "ca": "nobody.pem"}, ("ca",), "cannot be read"),
        ({**right, "ca": str(tmp_path)}, ("ca",), "cannot be read"),
        ({**right, "ca": str(own.client[1])}, ("key",), "cannot be used"),
        ({**right, "key": str(strangers.client[1])}, ("key",), "cannot be used"),
        ({**right, "key": str(locked)}, ("key",), "cannot be used"),
        ({"url": right["url"], "ca": right["ca"]}, (), "needs ca, cert and key"),
        ({**right, "url": "unix:///run/docker.sock"}, ("ca",), "no meaning"),
        ({"url": "ftp://x"}, ("url",), "must be unix://"),
        ({"url": "tcp://host"}, ("url",), "host:port"),
        ({"url": "tcp://host:99999"}, ("url",), "must be"),
        ({"url": "tcp://user@host:1"}, ("url",), "host:port"),
        ({}, (), "url is missing"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            make(options, str(tmp_path))
        assert caught.value.path == path, options


def test_without_tls_there_is_a_warning() -> None:
    seen: list[LogEvent] = []
    globalLogPublisher.addObserver(seen.append)
    try:
        make({"url": "tcp://192.0.2.7:2375"})
        make({"url": "unix:///run/docker.sock"})
    finally:
        globalLogPublisher.removeObserver(seen.append)
    assert ["192.0.2.7" in event["url"] for event in seen if event["log_namespace"] == "ngpu.engine"] == [True]
