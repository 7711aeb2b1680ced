"""Pages for customers at the public listener: the API's reference, and a playground (configuration: ``api_pages``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from ngpu.errors import NotFound
from ngpu.http.files import File
from ngpu.http.pages.documents import as_json
from ngpu.http.reply import Reply
from ngpu.http.routes import Route
from ngpu.http.server import NgpuRequest

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"

DOCUMENTS = ("openapi", "openapi-admin")
"""Names of the documents, without endings."""

_COMMON = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; "
)
_REFERENCE = _COMMON + "img-src 'self' data:; style-src 'self' 'unsafe-inline'; worker-src blob:"
"""What the reference may do (CSP Level 3): redoc makes its styles, and the worker of its search, as it runs."""

_PLAYGROUND = _COMMON + "img-src 'self' blob: data:; style-src 'self'"
"""The same of the playground: ``blob:`` and ``data:`` are the customer's picture and the result."""

PAGES = {
    "/docs": ("reference.html", _REFERENCE),
    "/docs/admin": ("reference.html", _REFERENCE),
    "/docs/playground": ("playground.html", _PLAYGROUND),
}
"""By address: the page, and its Content-Security-Policy."""

InThread = Callable[[Callable[[], File]], Awaitable[File]]


class Pages:
    """The routes. They are open to everybody: what they serve is in every copy of ngpu, and says nothing of this one.

    :param in_thread: runs something that takes a while.
    """

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread
        self._files: dict[str, File] = {}

    @property
    def routes(self) -> Sequence[tuple[str, str, Route]]:
        """Method, address and what answers."""
        pages = [("GET", address, self._page(name, policy)) for address, (name, policy) in PAGES.items()]
        texts = [("GET", f"/{name}.yaml", self._text(name)) for name in DOCUMENTS]
        parsed = [("GET", f"/{name}.json", self._parsed(name)) for name in DOCUMENTS]
        return (*pages, *texts, *parsed, ("GET", "/docs/<name>", self.asset))

    async def asset(self, request: NgpuRequest, name: str) -> Reply:
        """What the pages load.

        :raises NotFound: there is no such file.
        """
        paths = {path.name.removesuffix(".gz"): path for path in STATIC.iterdir() if path.suffix != ".html"}
        if name not in paths:
            raise NotFound("the pages have no such file")
        return self._kept(name, lambda: File.read(paths[name])).reply(request)

    def _page(self, name: str, policy: str) -> Route:
        async def page(request: NgpuRequest) -> Reply:
            headers = {"Content-Security-Policy": policy, "Cross-Origin-Opener-Policy": "same-origin"}
            return self._kept(name, lambda: File.read(STATIC / name, headers)).reply(request)

        return page

    def _text(self, name: str) -> Route:
        async def text(request: NgpuRequest) -> Reply:
            return self._kept(f"{name}.yaml", lambda: File.read(FOLDER / f"{name}.yaml")).reply(request)

        return text

    def _parsed(self, name: str) -> Route:
        async def parsed(request: NgpuRequest) -> Reply:
            file = self._files.get(f"{name}.json")
            if file is None:
                made = await self._in_thread(lambda: File(f"{name}.json", as_json(FOLDER / f"{name}.yaml")))
                file = self._kept(f"{name}.json", lambda: made)
            return file.reply(request)

        return parsed

    def _kept(self, key: str, make: Callable[[], File]) -> File:
        if key not in self._files:
            self._files[key] = make()
        return self._files[key]
