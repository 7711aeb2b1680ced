"""The dashboard's files at the admin listener: built out of `dashboard/` by `make dashboard`, served as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ngpu.errors import NotFound
from ngpu.http.reply import Reply
from ngpu.http.routes import Route
from ngpu.http.server import NgpuRequest

BUILT = Path(__file__).parent / "built"
INDEX = "index.html"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""What the pages may do (CSP Level 3): nothing inline, nothing evaluated, nothing from elsewhere, in nobody's frame."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    headers: Mapping[str, str]


class Dashboard:
    """The routes, open to everybody: what they serve is in every copy of ngpu, and says nothing of this gateway."""

    def __init__(self, folder: Path = BUILT) -> None:
        self._files = {path.name: _read(path) for path in sorted(folder.iterdir()) if path.suffix in TYPES}

    @property
    def routes(self) -> Sequence[tuple[str, str, Route]]:
        """Method, address and what answers."""
        return (("GET", "/", self.index), ("GET", "/assets/<name>", self.asset))

    async def index(self, request: NgpuRequest) -> Reply:
        """The page; the browser asks each time whether there is a newer one."""
        return self._reply(request, INDEX)

    async def asset(self, request: NgpuRequest, name: str) -> Reply:
        """What the page loads: each file's name has a digest of what it holds, so browsers may keep it for ever."""
        return self._reply(request, name)

    def _reply(self, request: NgpuRequest, name: str) -> Reply:
        file = self._files.get(name)
        if file is None:
            raise NotFound("the dashboard has no such file")
        known = (each.strip() for value in request.head.named.get(b"if-none-match", ()) for each in value.split(b","))
        if any(tag.removeprefix(b"W/").decode("latin-1") == file.headers["ETag"] for tag in known):
            return Reply(b"", 304, file.headers)
        return Reply(file.content, headers=file.headers)


def _read(path: Path) -> _File:
    content = path.read_bytes()
    kept = "no-cache" if path.name == INDEX else "public, max-age=31536000, immutable"
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return _File(content, {**HEADERS, "Content-Type": TYPES[path.suffix], "Cache-Control": kept, "ETag": tag})
