"""The dashboard's files at the admin listener: built out of `dashboard/` by `make dashboard`, served as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ngpu.errors import NotFound
from ngpu.http.files import TYPES, File
from ngpu.http.reply import Reply
from ngpu.http.routes import Route
from ngpu.http.server import NgpuRequest

BUILT = Path(__file__).parent / "built"
INDEX = "index.html"

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
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
"""Of what is named by its digest."""


class Dashboard:
    """The routes, open to everybody: what they serve is in every copy of ngpu, and says nothing of this gateway."""

    def __init__(self, folder: Path = BUILT) -> None:
        self._page = File.read(folder / INDEX, HEADERS)
        assets = [path for path in sorted(folder.iterdir()) if path.suffix in TYPES and path.name != INDEX]
        self._assets = {path.name: File.read(path, {**HEADERS, **FOR_EVER}) for path in assets}

    @property
    def routes(self) -> Sequence[tuple[str, str, Route]]:
        """Method, address and what answers."""
        return (("GET", "/", self.index), ("GET", "/assets/<name>", self.asset))

    async def index(self, request: NgpuRequest) -> Reply:
        """The page; the browser asks each time whether there is a newer one."""
        return self._page.reply(request)

    async def asset(self, request: NgpuRequest, name: str) -> Reply:
        """What the page loads: each file's name has a digest of what it holds, so browsers may keep it for ever.

        :raises NotFound: there is no such file.
        """
        if name not in self._assets:
            raise NotFound("the dashboard has no such file")
        return self._assets[name].reply(request)
