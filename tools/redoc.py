"""Fetch the release of redoc that is served at ``/docs`` with npm, and put it where it is served from.

It is changed in one place: the picture in its footer, which it would fetch from another host, is left out.
"""

from __future__ import annotations

import gzip
import subprocess
import tarfile
import tempfile
from pathlib import Path

VERSION = "2.5.4"
STATIC = Path(__file__).resolve().parent.parent / "ngpu/http/pages/static"
LOGO = (b"?n.createElement(", b'"https://cdn.redoc.ly/redoc/logo-mini.svg"', b"}):null")
"""What stands around the picture; the first part becomes a condition that never holds."""


def main() -> None:
    """Do it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", f"redoc@{VERSION}"], cwd=folder, check=True)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as package:
            script = _content(package, "bundles/redoc.standalone.js")
            licences = (_content(package, "LICENSE"), _content(package, "bundles/redoc.standalone.js.LICENSE.txt"))
    at = script.index(LOGO[1])
    start, end = script.rindex(LOGO[0], 0, at), script.index(LOGO[2], at) + len(LOGO[2])
    script = script[:start] + b"?null:null" + script[end:]
    if b"cdn.redoc.ly" in script:
        raise SystemExit("this release names another host in more places")
    (STATIC / "redoc.standalone.js.gz").write_bytes(gzip.compress(script, 9, mtime=0))
    head = f"redoc {VERSION}, without the picture in its footer; then the licences of what it contains.\n\n".encode()
    (STATIC / "redoc.LICENSE.txt").write_bytes(head + b"\n\n".join(licences))


def _content(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(f"package/{name}")
    assert file is not None
    return file.read()


if __name__ == "__main__":
    main()
