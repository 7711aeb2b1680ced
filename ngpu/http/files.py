"""Files of ours that browsers load: packed where that pays, and sent once only while they stay the same."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from ngpu.http.reply import Reply
from ngpu.http.server import NgpuRequest

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".yaml": "application/yaml",
}
"""By the ending of a file's name, its media type (that of YAML: RFC 9512)."""

PACKED = ".gz"
"""The second ending of a file that is kept packed."""

HEADERS = {
    "Cache-Control": "no-cache",  # ask whether it has changed
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_SMALL = 1400
"""Bytes that fit into one packet anyway."""

_NOT = re.compile(rb"q\s*=\s*0(\.0*)?", re.IGNORECASE)
"""The weight of an encoding that is not wanted (RFC 9110 §12.4.2)."""


class File:
    """A file and how it is served.

    :param name: says its type.
    :param headers: more fields of the replies.
    :param packed: the content is packed already.
    """

    def __init__(
        self, name: str, content: bytes, headers: Mapping[str, str] | None = None, *, packed: bool = False
    ) -> None:
        kind = TYPES[Path(name).suffix]
        self._plain = None if packed else content
        self._packed = content if packed else None
        if not packed and len(content) > _SMALL and kind != TYPES[".png"]:
            self._packed = gzip.compress(content, mtime=0)
        self._tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        # weak, as it is the same for both encodings
        self._headers = {"Content-Type": kind, **HEADERS, **(headers or {}), "ETag": f"W/{self._tag}"}
        if self._packed is not None:
            self._headers["Vary"] = "Accept-Encoding"

    @classmethod
    def read(cls, path: Path, headers: Mapping[str, str] | None = None) -> File:
        """One of the disk.

        :raises OSError: it cannot be read.
        """
        packed = path.suffix == PACKED
        return cls(path.name.removesuffix(PACKED), path.read_bytes(), headers, packed=packed)

    def reply(self, request: NgpuRequest) -> Reply:
        """The file, or 304 to a client that has it (RFC 9110 §13.1.2)."""
        known = (each.strip() for value in request.head.named.get(b"if-none-match", ()) for each in value.split(b","))
        if any(tag.removeprefix(b"W/") == self._tag.encode() for tag in known):
            return Reply(b"", 304, self._headers)
        if self._packed is not None and _takes_gzip(request):
            return Reply(self._packed, headers={**self._headers, "Content-Encoding": "gzip"})
        if self._plain is None:
            assert self._packed is not None
            self._plain = gzip.decompress(self._packed)  # once: clients that never read would hold one each
        return Reply(self._plain, headers=self._headers)


def _takes_gzip(request: NgpuRequest) -> bool:
    for value in request.head.named.get(b"accept-encoding", ()):
        for each in value.split(b","):
            name, _, weight = each.partition(b";")
            if name.strip().lower() == b"gzip":
                return _NOT.fullmatch(weight.strip()) is None
    return False
