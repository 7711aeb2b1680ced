"""How often somebody may try to log in. Pure: ``now`` is a parameter.

Right logins cost nothing, since the published client logs in anew for each of its commands; wrong ones are paid from
buckets that fill again with time: one of the address they come from, and one of the account they are for. An address
from which an account was opened before pays from a bucket of its own for that account, so that strangers who guess at
it do not lock its owner out.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple, TypeVar

from ngpu.errors import TooManyTries

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Rate(NamedTuple):
    """``burst`` tries at once, then one every ``seconds``."""

    burst: int
    seconds: float


BY_ADDRESS, BY_ACCOUNT = Rate(20, 15.0), Rate(10, 30.0)
"""Wrong passwords that an address may send, and that an account may be sent."""

REMEMBERED = 10_000
"""Buckets that are kept; beyond that those go first that were not used for the longest time."""

Bucket = tuple[Rate, Hashable]


class Attempts:
    """Counts wrong logins.

    :param remembered: how many buckets are kept, and how many addresses that opened an account.
    """

    def __init__(
        self, by_address: Rate = BY_ADDRESS, by_account: Rate = BY_ACCOUNT, remembered: int = REMEMBERED
    ) -> None:
        self._remembered = remembered
        self._by_address = by_address
        self._by_account = by_account
        self._spent: OrderedDict[Bucket, float] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def begin(self, address: str, account: str | None, now: float) -> tuple[Bucket, ...]:
        """Pay for a try, which may be wrong.

        :param account: as its key spells it, whether there is one or not; with ``None`` only the address pays.
        :returns: what was paid.
        :raises TooManyTries: there were too many; nothing was paid.
        """
        buckets = self.buckets(address, account)
        waits = [self._wait(bucket, now) for bucket in buckets]
        if max(waits) > 0:
            after = math.ceil(max(waits))
            raise TooManyTries(f"too many wrong logins; try again in {after} s", after)
        for bucket in buckets:
            self._pay(bucket, now)
        return buckets

    def buckets(self, address: str, account: str | None) -> tuple[Bucket, ...]:
        """What `begin` pays from."""
        place = _place(address)
        buckets: tuple[Bucket, ...] = ((self._by_address, ("address", place)),)
        if account is not None:
            known = (account, place) in self._known
            buckets += ((self._by_account, ("account", account, place if known else "")),)
        return buckets

    def give_back(self, paid: tuple[Bucket, ...]) -> None:
        """The try was right, or was never looked at."""
        for rate, name in paid:
            if (rate, name) in self._spent:
                self._spent[rate, name] -= rate.seconds

    def know(self, address: str, account: str) -> None:
        """The account was opened from there."""
        self._touch(self._known, (account, _place(address)), None)

    def knows(self, address: str, account: str) -> bool:
        """Whether the account was opened from there, and not forgotten since; it is remembered for longer now."""
        known = (account, _place(address))
        if known not in self._known:
            return False
        self._known.move_to_end(known)
        return True

    def _wait(self, bucket: Bucket, now: float) -> float:
        """Seconds until the bucket holds one more try."""
        rate = bucket[0]
        # what is kept is when the bucket will be full again; each try moves that on by `seconds`
        return self._spent.get(bucket, now) + rate.seconds - now - rate.burst * rate.seconds

    def _pay(self, bucket: Bucket, now: float) -> None:
        full = max(self._spent.get(bucket, now), now)
        self._touch(self._spent, bucket, full + bucket[0].seconds)

    def _touch(self, kept: OrderedDict[K, V], key: K, value: V) -> None:
        kept[key] = value
        kept.move_to_end(key)
        if len(kept) > self._remembered:
            kept.popitem(last=False)


def _place(address: str) -> str:
    """An IPv4 address; of an IPv6 one the /64 that its owner picks it from."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
