"""Archives from files and URLs: whole, at the reader's pace, or with an error that says what to do."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from random import Random

import pytest
import pytest_twisted
from archive_server import Served, archive_server
from archives_rig import DATA, whole
from docker_bed import Bed
from docker_images import Image, archive, busybox_layer, random_layer
from engine_labs import DockerLab, ticking
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from ngpu.archives.download import Patience
from ngpu.archives.opening import Archives
from ngpu.errors import FetchFailed, FetchRefused


class TestFiles:
    @pytest.mark.parametrize("size", [0, 1, 256 * 1024, 700_001])
    @pytest_twisted.ensureDeferred
    async def test_a_file_comes_whole(self, archives: Archives, tmp_path: Path, size: int) -> None:
        (tmp_path / "image.tar").write_bytes(DATA[:size])
        assert await whole(archives, "image.tar") == DATA[:size]
        assert await whole(archives, str(tmp_path / "image.tar")) == DATA[:size]

    @pytest.mark.parametrize("name", ["missing.tar", ".", "pipe", "a\0b"])
    @pytest_twisted.ensureDeferred
    async def test_what_is_no_file(self, archives: Archives, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FetchRefused, match=r"cannot be read: .*look at the workspace's `image.archive`"):
            await archives.open(name)

    @pytest_twisted.ensureDeferred
    async def test_one_that_gets_shorter(self, archives: Archives, tmp_path: Path) -> None:
        (tmp_path / "image.tar").write_bytes(DATA)
        opened = await archives.open("image.tar")
        pieces = opened.pieces()
        await anext(pieces)
        os.truncate(tmp_path / "image.tar", 300_000)
        with pytest.raises(FetchFailed, match="got shorter"):
            while True:
                await anext(pieces)

    @pytest_twisted.ensureDeferred
    async def test_closed_in_between(self, archives: Archives, tmp_path: Path) -> None:
        (tmp_path / "image.tar").write_bytes(DATA)
        opened = await archives.open("image.tar")
        pieces = opened.pieces()
        await anext(pieces)
        await opened.close()
        with pytest.raises(FetchFailed):
            await anext(pieces)


class TestUrls:
    @pytest.mark.parametrize("length", [True, False], ids=["with its length", "without"])
    @pytest_twisted.ensureDeferred
    async def test_it_comes_whole(self, archives: Archives, length: bool) -> None:
        with archive_server(Served(DATA, length=length)) as url:
            assert await whole(archives, url + "/image.tar?x=y") == DATA

    @pytest_twisted.ensureDeferred
    async def test_a_cut_is_resumed_where_it_was(self, archives: Archives) -> None:
        served = Served(DATA, cuts=[1_000_000, 500_000, 0, 0])
        with archive_server(served) as url:
            assert await whole(archives, url) == DATA
        starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for _, asked, _ in served.asked[1:] if asked]
        assert starts == [1_000_000, 1_500_000, 1_500_000, 1_500_000]
        assert {condition for _, _, condition in served.asked[1:]} == {'"1"'}
        assert served.sent == len(DATA)

    @pytest_twisted.ensureDeferred
    async def test_by_its_date_where_it_has_no_etag(self, archives: Archives) -> None:
        served = Served(DATA, etag=None, modified="Sun, 01 Nov 2020 00:00:00 GMT", cuts=[1_000_000])
        with archive_server(served) as url:
            assert await whole(archives, url) == DATA
        assert served.asked[1] == ("/", "bytes=1000000-", "Sun, 01 Nov 2020 00:00:00 GMT")

    @pytest.mark.parametrize(
        ("served", "words"),
        [
            (Served(DATA, etag=None, cuts=[1_000_000]), "neither an ETag nor a Last-Modified; it has to be begun anew"),
            (Served(DATA, etag='W/"1"', cuts=[1_000_000]), "has to be begun anew"),
            (Served(DATA, ranges=False, cuts=[1_000_000]), "cannot be resumed: it has changed, or its server gives no"),
        ],
        ids=["nothing to know it by", "a weak ETag", "no ranges"],
    )
    @pytest_twisted.ensureDeferred
    async def test_what_cannot_be_resumed(self, archives: Archives, served: Served, words: str) -> None:
        with archive_server(served) as url:
            with pytest.raises(FetchFailed, match=words):
                await whole(archives, url)
            assert await whole(archives, url) == DATA

    @pytest.mark.parametrize("conditions", [True, False], ids=["", "and its server does not know If-Range"])
    @pytest.mark.parametrize("known", ["etag", "modified"])
    @pytest_twisted.ensureDeferred
    async def test_bytes_of_another_version_are_never_put_together(
        self, archives: Archives, known: str, conditions: bool
    ) -> None:
        versions = {"etag": ['"1"', '"2"'], "modified": [f"Sun, 0{day} Nov 2020 00:00:00 GMT" for day in (1, 8)]}[known]
        served = Served(DATA, cuts=[1_000_000], conditions=conditions, **{"etag": None, known: versions[0]})
        with archive_server(served) as url:
            opened = await archives.open(url)
            setattr(served, known, versions[1])
            with pytest.raises(FetchFailed, match="it has changed"):
                async for _ in opened.pieces():
                    pass

    @pytest_twisted.ensureDeferred
    async def test_a_server_in_trouble_is_asked_again_for_a_while(self, archives: Archives) -> None:
        served = Served(DATA, statuses=[503, 500, 429, 200])
        with archive_server(served) as url:
            assert await whole(archives, url) == DATA
            served.statuses = [503] * 100
            with pytest.raises(FetchFailed, match=r"cannot be fetched after 6 tries: .*HTTP 503"):
                await archives.open(url)
        assert len(served.asked) == 4 + 6

    @pytest_twisted.ensureDeferred
    async def test_nobody_there(self, archives: Archives, free_port: int) -> None:
        with pytest.raises(FetchFailed, match="after 6 tries: ConnectionRefused"):
            await archives.open(f"http://127.0.0.1:{free_port}/image.tar")

    @pytest_twisted.ensureDeferred
    async def test_silence_counts_as_a_cut(self, archives: Archives) -> None:
        served = Served(DATA, cuts=[1_000_000], stall=threading.Event())
        with archive_server(served) as url:
            assert await whole(archives, url) == DATA
        assert len(served.asked) == 2

    @pytest.mark.parametrize("cut", [False, True], ids=["", "and is cut"])
    @pytest_twisted.ensureDeferred
    async def test_so_does_a_server_that_trickles(self, cut: bool) -> None:
        """Whoever owns such a server would keep the others' images from coming, for ever."""
        archives = Archives(reactor, Random(1), "/", patience=Patience(tries=3, first_wait=0.01, silence=0.3))
        served = Served(DATA, trickle=0.02, cuts=[200] * 9 if cut else [])
        with archive_server(served) as url, pytest.raises(FetchFailed, match="cannot be fetched after 3 tries"):
            await whole(archives, url)
        archives.close()

    @pytest.mark.parametrize(
        ("status", "words"),
        [(404, "there is nothing at"), (410, "there is nothing"), (401, "needs no login"), (403, "needs no login")],
    )
    @pytest_twisted.ensureDeferred
    async def test_what_is_not_given_is_not_asked_for_again(self, archives: Archives, status: int, words: str) -> None:
        served = Served(DATA, statuses=[status] * 9)
        with archive_server(served) as url, pytest.raises(FetchRefused, match=words) as caught:
            await archives.open(url + "/image.tar?signature=secret")
        assert len(served.asked) == 1
        assert "/image.tar" in str(caught.value)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("source", ["ftp://h/x", "http://u:p@h/x", "http://h:99999/", "http://", "http://h/a b"])
    @pytest_twisted.ensureDeferred
    async def test_what_is_no_such_url(self, archives: Archives, source: str) -> None:
        with pytest.raises(FetchRefused, match="is no http") as caught:
            await archives.open(source)
        assert "u:p" not in str(caught.value)

    @pytest_twisted.ensureDeferred
    async def test_it_is_read_no_faster_than_it_is_taken(self, archives: Archives) -> None:
        served = Served(os.urandom(1000) * 40_000)
        with archive_server(served) as url:
            opened = await archives.open(url)
            pieces = opened.pieces()
            taken = len(await anext(pieces))
            await ticking(reactor, 0.7)
            assert served.sent < 12_000_000  # what waits here, and in the buffers of two sockets
            async for piece in pieces:
                taken += len(piece)
            assert taken == len(served.data)
        assert len(served.asked) == 1

    @pytest_twisted.ensureDeferred
    async def test_given_up_while_it_waits(self, archives: Archives) -> None:
        with archive_server(Served(DATA, cuts=[0], stall=threading.Event())) as url:
            opened = await archives.open(url)
            reading = Deferred.fromCoroutine(anext(opened.pieces()))
            reading.cancel()
            with pytest.raises(CancelledError):
                await reading
            await opened.close()

    @pytest_twisted.ensureDeferred
    async def test_heads_have_a_limit(self, archives: Archives) -> None:
        from raw_worker import Peer, RawWorker

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.write(b"HTTP/1.1 200 OK\r\n")
            await peer.write_many(b"X-Filler: yes\r\n" * 4096, 1000)

        worker = RawWorker(reactor, script)
        with pytest.raises(FetchFailed):
            await archives.open(f"http://127.0.0.1:{worker.port}/")
        await worker.stop()


@pytest_twisted.ensureDeferred
async def test_from_a_url_that_is_cut_into_an_engine(bed: Bed, archives: Archives) -> None:
    lab = DockerLab(bed, "unix", reactor)
    data = archive(Image([busybox_layer(), random_layer(20 << 20, 6)]))
    shares: list[float] = []
    with archive_server(Served(data, cuts=[5_000_000, 7_000_000])) as url:
        opened = await archives.open(url)
        image = await lab.engine.load(opened.pieces(), opened.size, shares.append)
    assert await lab.engine.image(image) == image
    assert shares == sorted(set(shares))
    await lab.end()


@pytest_twisted.ensureDeferred
async def test_a_cut_that_cannot_be_resumed_ends_the_load(bed: Bed, archives: Archives) -> None:
    lab = DockerLab(bed, "unix", reactor)
    data = archive(Image([busybox_layer(), random_layer(20 << 20, 7)]))
    with archive_server(Served(data, etag=None, cuts=[5_000_000])) as url:
        for wanted in (FetchFailed, None):
            opened = await archives.open(url)
            if wanted is None:
                assert await lab.engine.load(opened.pieces(), opened.size, lambda share: None)
            else:
                with pytest.raises(wanted, match="begun anew"):
                    await lab.engine.load(opened.pieces(), opened.size, lambda share: None)
    await lab.end()
