"""One request to a source: when it may be made, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import NamedTuple, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ngpu.brc20.breaker import Breaker
from ngpu.brc20.rate import Rate
from ngpu.brc20.reply import Reply, Surprise, parse
from ngpu.errors import CheckerUnavailable, FetchFailed
from ngpu.interfaces import Fetched, FetchRequest, IFetcher

Query = Mapping[str, str | int]

AT_ONCE = 32
"""Requests to one source at once; others wait for their turn."""

_TROUBLE = frozenset({401, 403, 407, 408, 429})


class Answer(NamedTuple):
    """A status, and the JSON that came with it."""

    status: int
    reply: Reply


class Source:
    """A service that knows balances.

    :param name: stands for it in messages to customers and in the log.
    :param url: what its paths are put behind; ``path`` is the path that it has itself.
    :param headers: of every request; they may hold secrets.
    :param timeout: seconds that a request waits for its turn at most, and that it takes at most.
    """

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        timeout: float,
        rate: Rate,
        breaker: Breaker,
        fetcher: IFetcher,
        clock: IReactorTime,
    ) -> None:
        self.name = name
        self.url = url
        self.path = urlsplit(url).path
        self.clock = clock
        self._headers = tuple(headers.items())
        self._timeout = timeout
        self._rate = rate
        self._breaker = breaker
        self._fetcher = fetcher
        self._places = DeferredSemaphore(AT_ONCE)

    async def get(
        self, path: str, query: Mapping[str, str | int] | None = None, accept: tuple[int, ...] = (200,)
    ) -> Answer:
        """GET a path of the source; see `send`."""
        return await self.send(FetchRequest(target(path, query)), accept)

    async def send(self, request: FetchRequest, accept: tuple[int, ...] = (200,)) -> Answer:
        """Ask the source, in turn.

        :param request: its ``url`` begins with a slash and goes behind that of the source.
        :param accept: the statuses whose JSON is wanted.
        :raises CheckerUnavailable: it is not asked at all, since it is not its turn yet or rests after failures.
        :raises FetchFailed: no answer, or none that a source in good health gives: this counts for the breaker.
        :raises PayloadTooLarge, Surprise: an answer that cannot be used; this says nothing of the next one.
        """
        await self._places.acquire().addTimeout(self._timeout, self.clock, self._busy)
        try:
            await self._turn()
            self._breaker.begin()
            return await self._asked(request, accept)
        finally:
            self._places.release()

    async def _asked(self, request: FetchRequest, accept: tuple[int, ...]) -> Answer:
        """Ask, and tell the breaker how it went."""
        retry_after = None
        try:
            whole = request._replace(url=self.url + request.url, headers=self._headers + request.headers)
            fetched = await self._fetcher.fetch(whole, self._timeout)
            retry_after = fetched.retry_after if fetched.status in (429, 503) else None
            answer = _read(fetched, accept)
        except FetchFailed:
            self._breaker.failed(self.clock.seconds(), retry_after)
            raise
        except BaseException:
            self._breaker.left()
            raise
        self._breaker.succeeded(self.clock.seconds())
        return answer

    async def _turn(self) -> None:
        self._look()
        now = self.clock.seconds()
        wait = self._rate.wait(now)
        if wait > self._timeout:
            raise self._unavailable(wait, "is asked as often as it may be")
        self._rate.take(now)
        if wait > 0:
            await deferLater(self.clock, wait)
            self._look()

    def _look(self) -> None:
        rest = self._breaker.wait(self.clock.seconds())
        if rest > 0:
            raise self._unavailable(rest, "has failed and is left alone for now")

    def _unavailable(self, seconds: float, why: str) -> CheckerUnavailable:
        return CheckerUnavailable(f"the {self.name} source {why}; try again later", ceil(seconds))

    def _busy(self, _: object, __: float) -> NoReturn:
        raise CheckerUnavailable(f"the {self.name} source has too much to answer; try again")


def _read(fetched: Fetched, accept: tuple[int, ...]) -> Answer:
    status = fetched.status
    if status not in accept:
        if status in _TROUBLE or not (200 <= status < 300 or 400 <= status < 500):
            raise FetchFailed(f"it answered with HTTP {status}")
        raise Surprise(f"it answered with HTTP {status}")
    try:
        return Answer(status, parse(fetched.body))
    except ValueError:
        raise FetchFailed(f"what it answered with HTTP {status} is no JSON") from None


def target(path: str, query: Query | None = None) -> str:
    """A path and a query, percent-encoded where they have to be."""
    return path if query is None else f"{path}?{urlencode(query, quote_via=quote)}"


def segment(text: str) -> str:
    """A piece of a path, percent-encoded."""
    return quote(text, safe="")
