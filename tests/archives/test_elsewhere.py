"""Redirects and certificates of archives: where a URL may lead, and whom is believed."""

from __future__ import annotations

import ssl
from pathlib import Path
from random import Random

import pytest
import pytest_twisted
from archive_server import Served, archive_server
from archives_rig import DATA, SOON, whole
from docker_bed import Bed
from twisted.internet import reactor
from twisted.internet.ssl import Certificate, trustRootFromCertificates

from ngpu.archives.opening import Archives
from ngpu.errors import BadRequest, FetchRefused


class TestRedirects:
    @pytest_twisted.ensureDeferred
    async def test_they_are_followed_and_each_is_checked(self, archives: Archives) -> None:
        seen: list[str] = []

        async def check(url: str) -> None:
            seen.append(url.rpartition("/")[2])
            if url.endswith("/inside"):
                raise BadRequest("not there")

        served = Served(DATA, redirects={"/a": "/b", "/b": "c", "/x": "/inside"}, cuts=[1_000_000])
        with archive_server(served) as url:
            assert await whole(archives, url + "/a", check=check) == DATA
            assert seen == ["a", "b", "c"] * 2  # what was cut is asked for where it was asked for first
            with pytest.raises(BadRequest, match="not there"):
                await archives.open(url + "/x", check=check)
        assert "/inside" not in [path for path, _, _ in served.asked]

    @pytest.mark.parametrize(
        ("location", "words"),
        [
            ("/", "more than 5 times"),
            ("file:///etc/passwd", "no http"),
            ("http://u:p@127.0.0.1/", "no http"),
            ("http://[::1/", "no http|no URL"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_not_everywhere(self, archives: Archives, location: str, words: str) -> None:
        with archive_server(Served(DATA, redirects={"/": location})) as url, pytest.raises(FetchRefused, match=words):
            await archives.open(url + "/")


class TestTls:
    @pytest_twisted.ensureDeferred
    async def test_certificates_are_verified(self, bed: Bed, tmp_path: Path, archives: Archives) -> None:
        certificates = bed.engines[0].certificates
        assert certificates is not None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificates.server)
        authority = trustRootFromCertificates([Certificate.loadPEM(certificates.ca.read_bytes())])
        trusting = Archives(reactor, Random(1), str(tmp_path), authority, SOON)
        served = Served(DATA)
        with archive_server(served, context) as url:
            with pytest.raises(FetchRefused, match="cannot be trusted"):
                await archives.open(url)
            assert served.asked == []
            assert await whole(trusting, url) == DATA
            with archive_server(Served(DATA)) as plain:
                served.redirects = {"/": plain}
                with pytest.raises(FetchRefused, match="from https to http"):
                    await trusting.open(url + "/")
        with (
            archive_server(served, context, "127.0.0.2") as url,
            pytest.raises(FetchRefused, match="cannot be trusted"),
        ):
            await trusting.open(url)
        trusting.close()
