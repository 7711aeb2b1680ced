"""Inscription checker ``quorum``: asks several, and believes what enough of them say alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ngpu import options as read
from ngpu.brc20.checker import LONGEST_CHECK
from ngpu.errors import CheckerUnavailable, ConfigError
from ngpu.interfaces import IInscriptionChecker, Option, PluginContext
from ngpu.model import Holdings
from ngpu.plugin import Factory

OPTIONS = (
    Option("checkers", "those to ask, each {checker: name, options: {…}}"),
    Option("agree", "how many have to say the same of a ticker, more than half of them", "more than half", "checkers"),
    Option("lag", "how far one may be behind the others and still count", 3, "blocks"),
)


class Vote:
    """What several checkers have said so far. Pure; each ticker is counted on its own, and only equal balances agree.

    :param count: how many were asked.
    :param agree: how many have to say the same; so many of them are taken to be right, and the rest may lie.
    """

    def __init__(self, tickers: Sequence[str], count: int, agree: int, lag: int) -> None:
        self._tickers = tickers
        self._left = count
        self._may_lie = count - agree
        self._agree = agree
        self._lag = lag
        self._heard: list[Holdings] = []

    def take(self, holdings: Holdings | None) -> None:
        """One has answered, or failed to."""
        self._left -= 1
        if holdings is not None:
            self._heard.append(holdings)

    def decided(self) -> Holdings | None:
        """What enough of them agree on; ``None`` while there is a ticker they do not agree on."""
        voters = self._voters()
        balances: dict[str, Decimal] = {}
        for ticker in self._tickers:
            amount, votes = self._leading(ticker, voters)
            if votes < self._agree:
                return None
            if amount > 0:
                balances[ticker] = amount
        return Holdings(balances, min((each.height for each in voters if each.height is not None), default=None))

    def hopeless(self) -> bool:
        """Whether those that are still to come cannot make them agree."""
        voters = self._voters()
        return any(self._leading(ticker, voters)[1] + self._left < self._agree for ticker in self._tickers)

    def _voters(self) -> list[Holdings]:
        """Those that are not behind.

        However many of those that may lie say that they are far ahead, at least one that does not lie has come as far
        as the highest of the heights that remain without them.
        """
        heights = sorted((each.height for each in self._heard if each.height is not None), reverse=True)
        if len(heights) <= self._may_lie:
            return self._heard
        least = heights[self._may_lie] - self._lag
        return [each for each in self._heard if each.height is None or each.height >= least]

    def _leading(self, ticker: str, voters: Sequence[Holdings]) -> tuple[Decimal, int]:
        counted = Counter(each.balances.get(ticker, Decimal(0)) for each in voters)
        return counted.most_common(1)[0] if counted else (Decimal(0), 0)


@implementer(IInscriptionChecker)
class Quorum:
    """Answers as soon as enough agree.

    Those that have not answered by then go on to their own end, so that what they learn about their sources is not
    lost; none gets longer than a gate waits.
    """

    log = Logger("ngpu.checker")

    def __init__(
        self, checkers: Sequence[tuple[str, IInscriptionChecker]], agree: int, lag: int, clock: IReactorTime
    ) -> None:
        self._checkers = checkers
        self._agree = agree
        self._lag = lag
        self._clock = clock

    async def holdings(self, address: str, tickers: Sequence[str]) -> Holdings:
        """See `IInscriptionChecker.holdings`."""
        vote = Vote(tickers, len(self._checkers), self._agree, self._lag)
        decided: Deferred[Holdings] = Deferred()

        def heard(result: Holdings | Failure, name: str) -> None:
            vote.take(self._understood(result, name, tickers))
            if decided.called:
                return
            agreed = vote.decided()
            if agreed is not None:
                decided.callback(agreed)
            elif vote.hopeless():
                decided.errback(
                    CheckerUnavailable(f"fewer than {self._agree} of {len(self._checkers)} sources agree; try again")
                )

        asked = []
        for name, checker in self._checkers:
            one = Deferred.fromCoroutine(checker.holdings(address, tickers))
            asked.append(one.addTimeout(LONGEST_CHECK, self._clock).addBoth(heard, name))
        try:
            return await decided
        except CancelledError:
            for each in asked:
                each.cancel()
            raise

    def _understood(self, result: Holdings | Failure, name: str, tickers: Sequence[str]) -> Holdings | None:
        if isinstance(result, Failure):
            if not result.check(CheckerUnavailable, CancelledError, defer.TimeoutError):
                self.log.failure("the {checker} checker of a quorum failed", failure=result, checker=name)
            return None
        if isinstance(result, Holdings) and all(map(_is_amount, result.balances.values())):
            return result
        self.log.error("the {checker} checker of a quorum gave no holdings", checker=name)
        return None


def _is_amount(value: Any) -> bool:
    return isinstance(value, Decimal) and value.is_finite()


def _make(options: Mapping[str, Any], context: PluginContext) -> Quorum:
    listed = options.get("checkers")
    if not isinstance(listed, Sequence) or isinstance(listed, str) or len(listed) < 2:
        path = ("checkers",) if "checkers" in options else ()
        raise ConfigError("checkers must list two or more: [{checker: name, options: {…}}, …]", path)
    checkers = []
    for index, member in enumerate(listed):
        with read.within("checkers", index):
            checkers.append(_member(member, context))
    majority = len(checkers) // 2 + 1
    agree = read.whole(options, "agree", majority, majority, len(checkers))
    return Quorum(checkers, agree, read.whole(options, "lag", 3, 0, 1_000_000), context.clock)


def _member(member: Any, context: PluginContext) -> tuple[str, IInscriptionChecker]:
    if not isinstance(member, Mapping) or not isinstance(member.get("checker"), str):
        raise ConfigError("must name a checker: {checker: name, options: {…}}")
    for key in member:
        if key not in ("checker", "options"):
            raise ConfigError("there is no such key; there are checker and options", (key,))
    name, options = member["checker"], member.get("options", {})
    if not isinstance(options, Mapping):
        raise ConfigError("must be a mapping", ("options",))
    try:
        assert context.make is not None
        return name, context.make("checker", name, options)
    except ConfigError as error:
        error.path = error.path or ("checker",)
        raise


quorum = Factory(
    "checker", "quorum", "Asks several checkers and believes what more than half say alike.", _make, OPTIONS
)
