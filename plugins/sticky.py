"""Selection policy ``sticky``: requests with one value of a header, or of a field of their body, go to one replica."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from zope.interface import implementer

from ngpu.errors import ConfigError
from ngpu.interfaces import Option, PluginContext
from ngpu.model import Candidate, SelectionRequest
from ngpu.plugin import Factory
from ngpu.policy import IAffinePolicy
from ngpu.selection import Ranked, Ring

MOST_POINTS = 8
"""Points on the ring of one replica at most; it has one for each of its slots up to that."""

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", re.ASCII)
_FIELD = re.compile(r"[^\s.]+(\.[^\s.]+)*")


@implementer(IAffinePolicy)
class Sticky(Ranked):
    """Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam 2018).

    A replica takes no more than ``1 + epsilon`` times its share of all calls in flight; what would be over that, and
    what belongs to a replica that is not available, goes to the next one of its key. Requests without a value go to
    the least loaded.
    """

    def __init__(self, header: str, field: Sequence[str], epsilon: float, rng: Random) -> None:
        super().__init__(rng)
        self._header = header
        self._field = field
        self._epsilon = epsilon
        self._rings: dict[bool, Ring[Candidate]] = {False: Ring(), True: Ring()}
        self._known: dict[str, tuple[int, int]] = {}
        self._in_flight = 0
        self._slots = 0

    def affinity(self, header: Callable[[str], str | None], body: bytes) -> str:
        """See `IAffinePolicy.affinity`."""
        if self._header:
            return header(self._header) or ""
        try:
            value: Any = json.loads(body) if body else None
        except (ValueError, RecursionError):
            return ""
        for name in self._field:
            value = value.get(name) if isinstance(value, dict) else None
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""

    def rank(self, candidate: Candidate) -> tuple[float, bool]:
        """See `Ranked.rank`."""
        return candidate.in_flight / candidate.replica.slots, candidate.last_used is None

    def changed(self, candidate: Candidate) -> None:
        """See `IObservingPolicy.changed`."""
        super().changed(candidate)
        replica = candidate.replica
        self._rings[not candidate.suspect].drop(replica.id)
        self._rings[candidate.suspect].put(replica.id, candidate, min(replica.slots, MOST_POINTS))
        self._count(replica.id, candidate.in_flight, replica.slots)

    def unavailable(self, candidate: Candidate) -> None:
        """See `IObservingPolicy.unavailable`."""
        super().unavailable(candidate)
        for ring in self._rings.values():
            ring.drop(candidate.replica.id)
        busy = candidate.in_flight >= candidate.replica.slots
        self._count(candidate.replica.id, *(candidate.in_flight, candidate.replica.slots) if busy else (0, 0))

    def removed(self, candidate: Candidate) -> None:
        """See `IObservingPolicy.removed`."""
        self._count(candidate.replica.id, 0, 0)
        del self._known[candidate.replica.id]

    def select(self, replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """See `ISelectionPolicy.select`."""
        if request.affinity:
            found = self._rings[replicas[0].suspect].find(request.affinity, self._has_room)
            if found is not None:
                return found
        return super().select(replicas, request)

    def _has_room(self, candidate: Candidate) -> bool:
        share = candidate.replica.slots / self._slots
        return candidate.in_flight + 1 <= math.ceil((1 + self._epsilon) * (self._in_flight + 1) * share)

    def _count(self, name: str, in_flight: int, slots: int) -> None:
        before = self._known.get(name, (0, 0))
        self._known[name] = in_flight, slots
        self._in_flight += in_flight - before[0]
        self._slots += slots - before[1]


def _make(options: Mapping[str, Any], context: PluginContext) -> Sticky:
    header, field = options.get("header"), options.get("field")
    if (header is None) == (field is None):
        raise ConfigError("sticky needs either header or field: where a request says what it belongs to")
    if header is not None and (not isinstance(header, str) or not _HEADER.fullmatch(header)):
        raise ConfigError("must be the name of a header field, such as X-Session", ("header",))
    if field is not None and (not isinstance(field, str) or not _FIELD.fullmatch(field)):
        raise ConfigError("must be a field's name, or several with dots between them", ("field",))
    epsilon = options.get("epsilon", 0.25)
    if type(epsilon) not in (int, float) or not 0 < epsilon <= 100:
        raise ConfigError("must be a number above 0, at most 100", ("epsilon",))
    return Sticky(header or "", field.split(".") if field else (), float(epsilon), context.rng)


sticky = Factory(
    "selection",
    "sticky",
    "Requests with one value of a header or body field go to one replica, within a bound of its load.",
    _make,
    (
        Option("header", "the header field of the customer's request that says what it belongs to", None, "name"),
        Option("field", "the field of the JSON body for the worker that says it, in place of header", None, "name"),
        Option("epsilon", "how much more than its share of the calls in flight a replica takes", 0.25, "of the share"),
    ),
)
