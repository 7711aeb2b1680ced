"""Gates: who may pass, by what a Bitcoin address holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ngpu.errors import BadRequest, CheckerUnavailable, Forbidden, NgpuError
from ngpu.interfaces import IInscriptionChecker
from ngpu.model import Holdings
from ngpu.settings import Gate as GateSettings

CHECK_TIMEOUT = 3.0
"""Seconds that a checker may take."""

MOST_CACHED = 10_000
"""Addresses whose holdings are remembered at most, for the gate's ``cache`` time."""


class Gate:
    """One block of ``gates``: a checker, the tickers it is asked for, and the least that lets an address through.

    :param is_address: whether a text is an address at all.
    """

    log = Logger("ngpu.gate")

    def __init__(
        self,
        settings: GateSettings,
        checker: IInscriptionChecker,
        clock: IReactorTime,
        is_address: Callable[[str], bool],
    ) -> None:
        self._settings = settings
        self._checker = checker
        self._clock = clock
        self._is_address = is_address
        self._known: OrderedDict[str, tuple[float, Holdings]] = OrderedDict()

    async def holdings(self, address: str) -> Holdings:
        """What the address holds of the gate's tickers.

        :raises BadRequest: it is no address of Bitcoin's main network.
        :raises CheckerUnavailable: nobody can tell.
        """
        if not self._is_address(address):
            raise BadRequest("this is not a Bitcoin address of the main network (BIP-173, BIP-350 or base58check)")
        now = self._clock.seconds()
        known = self._known.get(address)
        if known is not None and known[0] > now:
            return known[1]
        holdings = await self._ask(address)
        self._known[address] = (now + self._settings.cache, holdings)
        self._known.move_to_end(address)
        if len(self._known) > MOST_CACHED:
            self._known.popitem(last=False)
        return holdings

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
                raise
            self.log.warn("let through unchecked: {error}", error=str(error))
            return
        if not any(amount >= self._settings.minimum and amount > 0 for amount in holdings.balances.values()):
            wanted = " or ".join(self._settings.tickers)
            raise Forbidden(
                f"this address does not hold the {_plain(self._settings.minimum)} {wanted} that is asked for"
            )

    async def _ask(self, address: str) -> Holdings:
        asked = defer.Deferred.fromCoroutine(self._checker.holdings(address, self._settings.tickers))
        try:
            return await asked.addTimeout(CHECK_TIMEOUT, self._clock)
        except (NgpuError, defer.CancelledError):
            raise
        except defer.TimeoutError:
            raise CheckerUnavailable(
                f"the {self._settings.checker} checker gave no answer in time; try again"
            ) from None
        except Exception:
            self.log.failure("the {checker} checker raised", checker=self._settings.checker)
            raise CheckerUnavailable(f"the {self._settings.checker} checker failed; try again") from None


def _plain(amount: Decimal) -> str:
    return f"{amount:f}"
