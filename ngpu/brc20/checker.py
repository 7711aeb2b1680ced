"""An `IInscriptionChecker` over one source, whose dialect is a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.logger import Logger
from zope.interface import implementer

from ngpu.brc20.reply import Surprise
from ngpu.brc20.source import Source
from ngpu.errors import CheckerUnavailable, FetchFailed, PayloadTooLarge
from ngpu.interfaces import IInscriptionChecker
from ngpu.model import Holdings

T = TypeVar("T")

LONGEST_CHECK = 10.0
"""Seconds after which a gate gives a checker up, whatever its own timeouts are."""

LookUp = Callable[[Source, str, Sequence[str]], Awaitable[Holdings]]
"""What a plugin knows: how to ask its source for an address and tickers, and to read what it answers."""


@implementer(IInscriptionChecker)
class SourceChecker:
    """Asks one source; an answer that is not as documented is no answer."""

    log = Logger("ngpu.checker")

    def __init__(self, source: Source, look_up: LookUp) -> None:
        self._source = source
        self._look_up = look_up

    async def holdings(self, address: str, tickers: Sequence[str]) -> Holdings:
        """See `IInscriptionChecker.holdings`."""
        name = self._source.name
        try:
            return await self._look_up(self._source, address, tickers)
        except (FetchFailed, PayloadTooLarge) as error:
            what = f"the {name} source did not answer"
            self.log.warn("{source} at {url}: {error}", source=name, url=self._source.url, error=str(error))
        except Surprise as error:
            what = f"the {name} source did not answer as it should"
            self.log.warn("{source} at {url}: {error}", source=name, url=self._source.url, error=str(error))
        raise CheckerUnavailable(f"{what}, so nobody can tell what this address holds; try again")


async def together(asked: Iterable[Any]) -> list[Any]:
    """What several coroutines return, in their order, all of them at work at once; the first that fails ends all.

    :raises Exception: what that one raised.
    """
    works: list[Deferred[Any]] = [Deferred.fromCoroutine(each) for each in asked]
    try:
        return await gatherResults(works, consumeErrors=True)
    except FirstError as error:
        for work in works:
            work.cancel()
        error.subFailure.raiseException()
