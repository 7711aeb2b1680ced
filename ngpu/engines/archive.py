"""What a docker image tar begins with, and how many images it may hold. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ngpu.errors import EngineRefused

_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
"""What engines unpack themselves: gzip, bzip2, xz, zstd."""

BLOCK = 512


def check_beginning(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, if they begin like a tar, or like a packed one.

    :raises EngineRefused: before anything was passed on.
    """
    begun = b""
    for piece in pieces:
        begun += piece
        if len(begun) >= BLOCK:
            break
    # POSIX.1-2001 and GNU tar: "ustar" at 257
    if not begun.startswith(_PACKED) and begun[257:262] != b"ustar":
        what = "is empty" if not begun else "is no docker image tar"
        raise EngineRefused(f"the archive {what}: make one with `docker save IMAGE`")
    yield begun
    yield from pieces


def only_image(ids: Collection[str]) -> str:
    """The one image of an archive.

    :raises EngineRefused: there is none, or there are several.
    """
    if len(ids) != 1:
        count = len(ids) or "no"
        raise EngineRefused(f"the archive holds {count} images: make one of exactly one with `docker save IMAGE`")
    return next(iter(ids))
