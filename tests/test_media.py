"""Files for workers: whoever has the URL gets the bytes, for a while, also after a restart; nobody else does."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_twisted

from ngpu.errors import NotFound, Unavailable
from ngpu.media import Media


def media(folder: Path, ttl: float = 60.0, url: str = "http://gateway:8080/") -> Media:
    from twisted.internet import reactor

    return Media(folder / "media", url, ttl, reactor)  # type: ignore[arg-type]


def parts(url: str) -> list[str]:
    found = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(found.query).items()}
    return [found.path.removeprefix("/media/"), query["expires"], query["type"], query["signature"]]


@pytest_twisted.ensureDeferred
async def test_a_url_outlives_a_restart(tmp_path: Path) -> None:
    url = await media(tmp_path).publish(b"speech", "audio/mpeg")
    assert url.startswith("http://gateway:8080/media/")
    assert await media(tmp_path).open(*parts(url)) == b"speech"
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "media").iterdir()}
    assert set(modes.values()) == {0o600} and "key" in modes
    assert (tmp_path / "media").stat().st_mode & 0o777 == 0o700


@pytest_twisted.ensureDeferred
async def test_what_was_not_given_away_is_not_there(tmp_path: Path) -> None:
    kept = media(tmp_path)
    name, expires, kind, signature = parts(await kept.publish(b"speech", "audio/mpeg"))
    wrong: list[Any] = [
        (name, str(int(expires) + 1), kind, signature),
        (name, expires, "text/html", signature),
        ("../media/" + name, expires, kind, signature),
        ("key", expires, kind, signature),
        (name, expires, kind, ""),
        (name, "soon", kind, signature),
        (name, expires, kind, "\udc80"),
    ]
    for each in wrong:
        with pytest.raises(NotFound):
            await kept.open(*each)
    with pytest.raises(NotFound):
        await media(tmp_path / "empty").open(name, expires, kind, signature)


@pytest_twisted.ensureDeferred
async def test_old_files_go(tmp_path: Path) -> None:
    url = await media(tmp_path, 60.0).publish(b"old", "audio/mpeg")
    old = tmp_path / "media" / parts(url)[0]
    os.utime(old, (time.time() - 100, time.time() - 100))
    await media(tmp_path, 60.0).publish(b"new", "audio/mpeg")
    assert not old.exists()
    with pytest.raises(NotFound):
        await media(tmp_path).open(*parts(url))
    expired = parts(await media(tmp_path, -10.0).publish(b"x", "audio/mpeg"))
    with pytest.raises(NotFound):
        await media(tmp_path).open(*expired)


@pytest_twisted.ensureDeferred
async def test_without_an_address_nothing_is_published(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"media\.url"):
        await media(tmp_path, url="").publish(b"x", "audio/mpeg")
    (tmp_path / "media").write_text("a file in the way")
    with pytest.raises(Unavailable):
        await media(tmp_path).publish(b"x", "audio/mpeg")


@pytest_twisted.ensureDeferred
async def test_a_file_that_finds_no_room_leaves_no_part_of_it(tmp_path: Path) -> None:
    """It would keep a full disk full."""
    kept = media(tmp_path)
    await kept.publish(b"x", "audio/mpeg")
    before = set((tmp_path / "media").iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, limits[1]))
    try:
        with pytest.raises(Unavailable, match="cannot keep a file"):
            await kept.publish(bytes(5 << 20), "audio/mpeg")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert set((tmp_path / "media").iterdir()) == before
