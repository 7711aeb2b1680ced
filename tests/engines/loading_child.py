"""Loads an archive of so many MiB into an engine; prints how many MiB of memory that took, bytes written, the id."""

from __future__ import annotations

import hashlib
import io
import json
import resource
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from ngpu.interfaces import PluginContext
from ngpu.plugins.docker import docker

PIECE = 256 * 1024


def entry(name: str, size: int) -> bytes:
    """The head of a file in a tar."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 512)


def layer(size: int) -> Iterator[bytes]:
    """A layer's tar, made while it is read."""
    rng = Random(size)
    yield entry("data", size)
    for _ in range(size // PIECE):
        yield rng.randbytes(PIECE)
    yield b"\0" * 1024


def pieces(mib: int) -> Iterator[bytes]:
    """An archive with such a layer."""
    size = mib << 20
    digest = hashlib.sha256()
    for piece in layer(size):
        digest.update(piece)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest.hexdigest()}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "c.json", "RepoTags": None, "Layers": ["l/layer.tar"]}]).encode()
    yield entry("l/layer.tar", 512 + size + 1024)
    yield from layer(size)
    for name, data in (("c.json", config), ("manifest.json", manifest)):
        yield entry(name, len(data)) + padded(data)
    yield b"\0" * 1024


async def source(mib: int) -> AsyncIterator[bytes]:
    for piece in pieces(mib):
        yield piece


def resident() -> float:
    """The most MiB that were in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def written() -> int:
    """Bytes that went to a disk."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])


async def main() -> None:
    engine = docker.from_options({"url": sys.argv[1]}, PluginContext(reactor, None, "."))
    await engine.load(source(1), None, lambda share: None)
    memory, disk = resident(), written()
    image = await engine.load(source(int(sys.argv[2])), None, lambda share: None)
    print(resident() - memory, written() - disk, image)
    await engine.close()


def ended(result: object) -> None:
    if result is not None:
        io.TextIOWrapper(sys.stderr.buffer).write(str(result))
    reactor.stop()  # type: ignore[attr-defined]


reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()).addBoth(ended))  # type: ignore[attr-defined]
reactor.run()  # type: ignore[attr-defined]
