"""The contract of inscription checkers: `ngpu.interfaces.IInscriptionChecker`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ngpu.errors import CheckerUnavailable, FetchFailed, PayloadTooLarge
from ngpu.interfaces import Fetched, FetchRequest
from ngpu.model import Holdings
from ngpu.testing.contract import Contract, begun, raised
from ngpu.testing.fetcher import FakeFetcher, Reply

HOLDER = "bc1pp8vyhh2ma0ntzjwr26xxrn5r0w296yu68wdwle5rrhgtv3a2lgkqtyayus"
NOBODY = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
TICKERS = ("ordi",)
LONGEST = 10.0
"""Seconds after which a gate gives a checker up."""

Source = Callable[[FetchRequest], Fetched]

FAILURES: Mapping[str, Reply] = {
    "cannot be reached": FetchFailed("connection refused"),
    "answers with too much": PayloadTooLarge("the reply is larger than 1 MiB"),
    "answers with HTTP 500": Fetched(500, b'{"error": "internal"}'),
    "answers with HTTP 502 in HTML": Fetched(502, b"<html>bad gateway</html>"),
    "answers with HTTP 429": Fetched(429, b"{}", 7.0),
    "answers with HTML": Fetched(200, b"<!doctype html><title>maintenance</title>"),
    "answers with nothing": Fetched(200, b""),
    "answers with what is no UTF-8": Fetched(200, b'{"data": "\xff"}'),
    "answers with brackets only": Fetched(200, b"[" * 100_000),
}


def verify_checker(
    contract: Contract, source: Source | None, holds: Mapping[str, str], holder: str, nobody: str
) -> None:
    """Try every clause.

    :param source: what is asked, in good health; without it only failures are tried.
    """
    _Checked(contract, source, holds, holder, nobody).all()


class _Checked:
    def __init__(
        self, contract: Contract, source: Source | None, holds: Mapping[str, str], holder: str, nobody: str
    ) -> None:
        self._contract = contract
        self._source = source
        self._tickers: Sequence[str] = tuple(holds) or TICKERS
        self._held = {ticker: Decimal(amount) for ticker, amount in holds.items()}
        self._holder = holder
        self._nobody = nobody

    def all(self) -> None:
        """Every clause, the three outcomes first."""
        asks = self._ask(self._broken_source("cannot be reached"), self._holder)[1].asked
        if self._source is not None or not asks:
            self._outcomes()
        if self._source is not None and not self._ask(self._source, self._holder)[1].asked:
            self._contract.broken("it never asked the source of this test: small requests go through context.fetcher")
        for what in FAILURES if asks else ():
            self._unknown(what, self._broken_source(what), ())
        if asks:
            self._cancelled()
        if self._source is not None:
            self._every_request_matters(self._source)

    def _outcomes(self) -> None:
        """Holds, as exact decimals under the tickers as they were spelled; holds nothing."""
        answer = self._source or self._broken_source("cannot be reached")
        for spelled in (str, str.upper, str.lower):
            tickers = [spelled(ticker) for ticker in self._tickers]
            wanted = {spelled(ticker): amount for ticker, amount in self._held.items()}
            found = self._known(answer, self._holder, tickers)
            if wanted and found.balances != wanted:
                self._contract.broken(f"asked for {tickers} it found {dict(found.balances)!r}, and not {wanted!r}")
        if self._held and self._known(answer, self._nobody, self._tickers).balances:
            self._contract.broken("an address that has none holds something: what is not held is left out")

    def _known(self, answer: Callable[[FetchRequest], Reply], address: str, tickers: Sequence[str]) -> Holdings:
        result, _ = self._ask(answer, address, tickers)
        if not isinstance(result, Holdings):
            self._contract.broken("with a source in good health it did not return Holdings", _error(result))
        for ticker, amount in result.balances.items():
            if ticker not in tickers:
                self._contract.broken(f"asked for {list(tickers)} it told of {ticker!r}")
            if not isinstance(amount, Decimal) or not amount.is_finite() or amount <= 0:
                self._contract.broken(f"a balance is {amount!r}, and no exact Decimal above zero")
        if result.height is not None and type(result.height) is not int:
            self._contract.broken(f"the height is {result.height!r}, and neither an int nor None")
        return result

    def _unknown(self, what: str, answer: Callable[[FetchRequest], Reply], also: tuple[Any, ...]) -> None:
        """A source that fails makes it unknown; never a guess.

        :param also: results that are right too.
        """
        result, _ = self._ask(answer, self._holder)
        if not raised(result, CheckerUnavailable) and result not in also:
            self._contract.broken(
                f"a source that {what} must raise CheckerUnavailable"
                + ("" if isinstance(result, Failure) else f", and not give {result!r}"),
                _error(result),
            )

    def _every_request_matters(self, source: Source) -> None:
        """None of its requests may fail, or be cut short, and leave a guess: unknown, or the whole truth."""
        truth, fetcher = self._ask(source, self._holder)
        for number in range(len(fetcher.asked)):
            for what, spoil in (("cannot be reached", _lost), ("is cut short", _cut)):
                answer = _spoiled(source, number, spoil)
                self._unknown(f"{what} at request {number + 1}", answer, (truth,))

    def _cancelled(self) -> None:
        """Cancelling ends it at once, and its requests with it."""
        clock, fetcher = Clock(), FakeFetcher(lambda request: None)
        checker = self._contract.make(self._contract.context(clock, fetcher))
        results: list[Any] = []
        asking = begun(checker.holdings(self._holder, self._tickers)).addBoth(results.append)
        asking.cancel()
        if not results or not raised(results[0], CancelledError, CheckerUnavailable):
            self._contract.broken("cancelled while it waits for its source it must end at once, with nothing found")
        if fetcher.hanging:
            self._contract.broken("cancelled while it waits for its source it must cancel its requests too")

    def _ask(
        self, answer: Callable[[FetchRequest], Reply], address: str, tickers: Sequence[str] | None = None
    ) -> tuple[Any, FakeFetcher]:
        clock, fetcher = Clock(), FakeFetcher(answer)
        checker = self._contract.make(self._contract.context(clock, fetcher))
        try:
            work = checker.holdings(address, tickers or self._tickers)
            result = self._contract.result(work, clock)
        except (Exception, SystemExit) as error:
            self._contract.broken("holdings must be a coroutine function", error)
        if result is None:
            self._contract.broken("holdings gave no answer although its source had: it waits for something else")
        for each in fetcher.asked:
            if not 0 < each.timeout <= LONGEST:
                self._contract.broken(f"it gave a request {each.timeout} s; a gate waits for {LONGEST:g} s in all")
        return result, fetcher

    def _broken_source(self, what: str) -> Callable[[FetchRequest], Reply]:
        return lambda request: FAILURES[what]


def _error(result: Any) -> BaseException | None:
    return result.value if isinstance(result, Failure) else None


def _spoiled(
    source: Source, number: int, spoil: Callable[[Source, FetchRequest], Reply]
) -> Callable[[FetchRequest], Reply]:
    seen: list[FetchRequest] = []

    def answer(request: FetchRequest) -> Reply:
        seen.append(request)
        return spoil(source, request) if len(seen) == number + 1 else source(request)

    return answer


def _lost(source: Source, request: FetchRequest) -> Reply:
    return FetchFailed("connection reset")


def _cut(source: Source, request: FetchRequest) -> Reply:
    reply = source(request)
    return reply._replace(body=reply.body[: len(reply.body) // 2])
