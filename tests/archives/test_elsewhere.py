"""Redirects and certificates of archives: where a URL may lead, and whom is believed."""

from __future__ import annotations

import ssl
from ipaddress import ip_network
from pathlib import Path
from random import Random

import pytest
import pytest_twisted
from archive_server import Served, archive_server
from archives_rig import DATA, SOON, whole
from docker_bed import Bed
from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.web.client import URI

from ngpu.archives.opening import Archives
from ngpu.egress import Egress
from ngpu.errors import BadRequest, FetchRefused
from ngpu.vetted import vetted


class TestRedirects:
    @pytest_twisted.ensureDeferred
    async def test_they_are_followed_and_each_is_checked(self, archives: Archives) -> None:
        seen: list[str] = []

        def connect(uri: URI) -> HostnameEndpoint:
            seen.append(uri.path.decode().removeprefix("/"))
            if uri.path == b"/inside":
                raise BadRequest("not there")
            return HostnameEndpoint(reactor, uri.host, uri.port)

        served = Served(DATA, redirects={"/a": "/b", "/b": "c", "/x": "/inside"}, cuts=[1_000_000])
        with archive_server(served) as url:
            assert await whole(archives, url + "/a", connect=connect) == DATA
            assert seen == ["a", "b", "c"] * 2  # what was cut is asked for where it was asked for first
            with pytest.raises(BadRequest, match="not there"):
                await archives.open(url + "/x", connect=connect)
        assert "/inside" not in [path for path, _, _ in served.asked]

    @pytest_twisted.ensureDeferred
    async def test_a_name_that_leads_elsewhere_after_it_was_looked_at_leads_nowhere(self, archives: Archives) -> None:
        """DNS rebinding: public for the account's call and for a first look, and inside when it is connected to."""
        answers = [["93.184.216.34"], ["127.0.0.1"], ["127.0.0.1"]]

        async def resolve(host: str) -> list[str]:
            return answers.pop(0) if host == "evil.example" else ["127.0.0.1"]

        egress = Egress([], resolve)
        served = Served(DATA)
        with archive_server(served) as url:
            evil = url.replace("127.0.0.1", "evil.example")
            await egress.check(evil, "wget_url")
            with pytest.raises(BadRequest, match=r"the archive: .* is not on the public internet"):
                await archives.open(evil, vetted(reactor, egress, "the archive", secure=False))
            allowed = vetted(reactor, Egress([ip_network("127.0.0.1")], resolve), "the archive", secure=False)
            assert served.asked == []
            assert await whole(archives, evil, connect=allowed) == DATA

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
