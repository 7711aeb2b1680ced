"""Gates: who may pass, by what a Bitcoin address holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.addresses import address_key
from ngpu.brc20.checker import LONGEST_CHECK
from ngpu.errors import BadRequest, CheckerUnavailable, Forbidden
from ngpu.interfaces import IInscriptionChecker
from ngpu.model import Holdings
from ngpu.settings import Gate as GateSettings
from ngpu.waiting import confined

MOST_CACHED = 10_000
"""Addresses whose holdings are remembered at most; those that were asked for longest ago go first."""

UNKNOWN_KEPT = 1.0
"""Seconds for which it is remembered that nobody could tell, so that a crowd does not fall upon a source in trouble."""

NO_ADDRESS = "this is not a Bitcoin address of the main network (BIP-173, BIP-350 or base58check)"

MOST = Decimal("1e100")
"""No balance is as much, and one of a million digits would hold the gateway up while it is written down."""


class _Known(NamedTuple):
    """What was found out, and until when that is believed."""

    until: float
    found: Holdings | CheckerUnavailable


class Gate:
    """One block of ``gates``: a checker, the tickers it is asked for, and the least that lets an address through.

    Callers that ask for one address at one time share one question to the checker. It goes on when all of them have
    left, and what it finds is remembered, that an address holds nothing too.

    :param is_address: whether a text is an address at all.
    :param most: addresses that are remembered at most.
    :param counted: told of each address: ``passed``, ``refused``, ``unknown``, or ``unchecked`` where that passes.
    """

    log = Logger("ngpu.gate")

    def __init__(
        self,
        settings: GateSettings,
        checker: IInscriptionChecker,
        clock: IReactorTime,
        is_address: Callable[[str], bool],
        most: int = MOST_CACHED,
        counted: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._counted = counted
        self._most = most
        self._settings = settings
        self._checker = checker
        self._clock = clock
        self._is_address = is_address
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, Deferred[_Known]] = {}

    async def holdings(self, address: str) -> Holdings:
        """What the address holds of the gate's tickers.

        :raises BadRequest: it is no address of Bitcoin's main network.
        :raises CheckerUnavailable: nobody can tell.
        """
        if address not in self._known and not self._is_address(address):
            raise BadRequest(NO_ADDRESS)
        key = address_key(address)
        known = self._known.get(key)
        if known is None or known.until <= self._clock.seconds():
            known = await self._answer(key)
        else:
            self._known.move_to_end(key)
        if isinstance(known.found, CheckerUnavailable):
            raise CheckerUnavailable(str(known.found), known.found.retry_after)
        return known.found

    async def admit(self, address: str) -> None:
        """Let an address through that holds enough of one of the tickers.

        :raises Forbidden: it does not.
        :raises BadRequest: it is no address.
        :raises CheckerUnavailable: nobody can tell, and the gate's ``on_unknown`` is ``deny``.
        """
        try:
            holdings = await self.holdings(address)
        except CheckerUnavailable as error:
            if self._settings.on_unknown == "deny":
                self._counted("unknown")
                raise
            self._counted("unchecked")
            self.log.warn("let through unchecked: {error}", error=str(error))
            return
        if not any(amount >= self._settings.minimum for amount in holdings.balances.values()):
            self._counted("refused")
            wanted = " or ".join(self._settings.tickers)
            raise Forbidden(f"this address does not hold the {self._settings.minimum:f} {wanted} that is asked for")
        self._counted("passed")

    def _answer(self, key: str) -> Deferred[_Known]:
        """One caller's share of the question; cancelling it leaves the others theirs."""
        waiter: Deferred[_Known] = Deferred()

        def tell(known: _Known) -> _Known:
            if not waiter.called:
                waiter.callback(known)
            return known

        (self._asking.get(key) or self._ask(key)).addCallback(tell)
        return waiter

    def _ask(self, key: str) -> Deferred[_Known]:
        asked = confined(lambda: self._checker.holdings(key, self._settings.tickers))
        known = asked.addTimeout(LONGEST_CHECK, self._clock).addCallback(self._checked).addErrback(self._unknown)
        asking = known.addCallback(self._remember, key)
        if not asking.called:
            self._asking[key] = asking
        return asking

    def _remember(self, found: Holdings | CheckerUnavailable, key: str) -> _Known:
        kept = (
            min(self._settings.cache, UNKNOWN_KEPT) if isinstance(found, CheckerUnavailable) else self._settings.cache
        )
        known = _Known(self._clock.seconds() + kept, found)
        self._asking.pop(key, None)
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return known

    def _checked(self, found: Holdings) -> Holdings:
        """What a checker returned, less what no gate should believe.

        :raises ValueError: it is no `Holdings`, or holds what is no balance.
        """
        if not isinstance(found, Holdings) or not isinstance(found.balances, Mapping):
            raise ValueError("the checker returned something that is no Holdings")
        balances = {ticker: found.balances[ticker] for ticker in self._settings.tickers if ticker in found.balances}
        for amount in balances.values():
            if not isinstance(amount, Decimal) or not amount.is_finite() or not 0 <= amount < MOST:
                raise ValueError("the checker returned something that is no balance")
        return Holdings({ticker: amount for ticker, amount in balances.items() if amount > 0}, found.height)

    def _unknown(self, failure: Failure) -> CheckerUnavailable:
        """Why nobody can tell."""
        name, error = self._settings.checker, failure.value
        if isinstance(error, CheckerUnavailable):
            return error
        if isinstance(error, defer.TimeoutError | defer.CancelledError):
            self.log.warn("the {checker} checker gave no answer in time", checker=name)
            return CheckerUnavailable(f"the {name} checker gave no answer in time; try again")
        self.log.failure("the {checker} checker failed", failure=failure, checker=name)
        return CheckerUnavailable(f"the {name} checker failed; try again")
