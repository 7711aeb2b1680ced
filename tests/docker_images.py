"""Images for tests, made of this machine's busybox: tars in memory, as ``docker save`` and registries hold them."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import random
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

SERVES = ("/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www")
"""The command with which `busybox_layer` serves its pages on 8080: /, and /cgi-bin/echo, which gives a POST back.

Its length is told, so that a reply that is cut when the container is killed is seen to be; and that the connection
ends, as this server's do.
"""

SHELL = ("/bin/busybox", "sh", "-c")
_ECHO = b"""#!/bin/busybox sh
printf 'Content-Type: application/octet-stream\\r\\nConnection: close\\r\\n'
printf 'Content-Length: %s\\r\\n\\r\\n' "${CONTENT_LENGTH:-0}"
[ -n "$CONTENT_LENGTH" ] && /bin/busybox head -c "$CONTENT_LENGTH"
"""


class Image(NamedTuple):
    """Layers (tars) and the ``config`` of an image, such as ``{"Healthcheck": …}``; ``tag`` for its archive."""

    layers: Sequence[bytes]
    config: Mapping[str, Any] = {}
    tag: str | None = None


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar of files; each may be executed, and was made at the same time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@functools.cache
def busybox_layer(page: str = "hello") -> bytes:
    """busybox (with its libraries where it needs any), and pages to serve."""
    program = shutil.which("busybox")
    assert program is not None
    files = {"bin/busybox": Path(program).read_bytes()}
    linked = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", linked):
        files[library.lstrip("/")] = Path(library).read_bytes()
    return tar_of({**files, "www/index.html": page.encode(), "www/cgi-bin/echo": _ECHO, "tmp/.keep": b""})


def random_layer(size: int, seed: int) -> bytes:
    """A layer of a size that does not get smaller by packing."""
    return tar_of({f"data/{seed}": random.Random(seed).randbytes(size)})


def archive(*images: Image) -> bytes:
    """A docker image tar, as ``docker save`` writes one."""
    files: dict[str, bytes] = {}
    manifest = []
    for image in images:
        digests = [hashlib.sha256(layer).hexdigest() for layer in image.layers]
        described = {
            "architecture": "amd64",
            "os": "linux",
            "config": image.config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        }
        text = json.dumps(described).encode()
        name = f"{hashlib.sha256(text).hexdigest()}.json"
        files[name] = text
        files.update({f"{digest}/layer.tar": layer for digest, layer in zip(digests, image.layers, strict=True)})
        names = [f"{digest}/layer.tar" for digest in digests]
        manifest.append({"Config": name, "RepoTags": [image.tag] if image.tag else None, "Layers": names})
    return tar_of({**files, "manifest.json": json.dumps(manifest).encode()})
