"""Several gateways on one store, in memory: news, slots and leadership as `ngpu.sharing` says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ngpu.errors import StoreUnavailable
from ngpu.sharing import ILeadership, INews, ISlots, Listener


class Hall:
    """Where the gateways of a test meet.

    :ivar held: slots by replica and gateway.
    :ivar leader: the gateway that leads.
    """

    def __init__(self) -> None:
        self.gateways: list[SharedGateway] = []
        self.held: dict[str, Counter[SharedGateway]] = {}
        self.leader: SharedGateway | None = None

    def join(self) -> SharedGateway:
        """One more gateway; the first one leads."""
        gateway = SharedGateway(self)
        self.gateways.append(gateway)
        self.leader = self.leader or gateway
        return gateway

    def speak(self, topic: str, words: str = "") -> None:
        """Have every gateway hear what the store itself says."""
        for gateway in tuple(self.gateways):
            gateway.told(topic, words)

    def lead(self, gateway: SharedGateway | None) -> None:
        """Let another one lead."""
        before, self.leader = self.leader, gateway
        for each in (before, gateway):
            for changed in each.leadership.watchers if each is not None and before is not gateway else ():
                changed()


@implementer(ILeadership)
class _Leadership:
    def __init__(self, hall: Hall, gateway: SharedGateway) -> None:
        self._hall = hall
        self._gateway = gateway
        self.watchers: list[Callable[[], None]] = []

    def leads(self) -> bool:
        """See `ILeadership.leads`."""
        return self._hall.leader is self._gateway

    def watch(self, changed: Callable[[], None]) -> None:
        """See `ILeadership.watch`."""
        self.watchers.append(changed)

    async def resign(self) -> None:
        """See `ILeadership.resign`; the first of the others leads then."""
        if self.leads():
            self._hall.lead(next((each for each in self._hall.gateways if each is not self._gateway), None))


@implementer(INews, ISlots)
class SharedGateway:
    """What one of them has of it.

    :ivar leadership: whether it works on the fleet.
    :ivar away: whether the store is away for it: what it says is lost, and it hears nothing.
    """

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._away = False
        self._listeners: list[tuple[str, Listener]] = []
        self._watchers: list[Callable[[str], None]] = []
        self.leadership = _Leadership(hall, self)

    @property
    def away(self) -> bool:
        """See the class."""
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        back, self._away = self._away and not away, away
        for _, listener in tuple(self._listeners) if back else ():
            listener(None)

    def say(self, topic: str, words: str) -> None:
        """See `INews.say`."""
        for other in self._hall.gateways if not self.away else ():
            if other is not self:
                other.told(topic, words)

    def told(self, topic: str, words: str) -> None:
        """Let it hear something, as the store itself would say it."""
        for about, listener in tuple(self._listeners) if not self.away else ():
            if about == topic:
                listener(words)

    def hear(self, topic: str, listener: Listener) -> Callable[[], None]:
        """See `INews.hear`."""
        entry = (topic, listener)
        self._listeners.append(entry)
        if not self.away:
            listener(None)
        return lambda: self._listeners.remove(entry) if entry in self._listeners else None

    def take(self, replica: str, slots: int) -> Deferred[bool]:
        """See `ISlots.take`."""
        if self.away:
            return fail(StoreUnavailable("the store is away"))
        held = self._hall.held.setdefault(replica, Counter())
        if held.total() >= slots:
            return succeed(False)
        held[self] += 1
        self._changed(replica)
        return succeed(True)

    def free(self, replica: str) -> None:
        """See `ISlots.free`."""
        held = self._hall.held.setdefault(replica, Counter())
        if held[self] > 0:
            held[self] -= 1
            self._changed(replica)

    def elsewhere(self, replica: str) -> int:
        """See `ISlots.elsewhere`."""
        held = self._hall.held.get(replica, Counter())
        return held.total() - held[self]

    def _changed(self, replica: str) -> None:
        for other in self._hall.gateways:
            for changed in other._watchers if other is not self else ():
                changed(replica)

    def watch(self, changed: Callable[[str], None]) -> None:
        """See `ISlots.watch`."""
        self._watchers.append(changed)
