"""Selection policy ``nearest``: replicas in one area first, the least busy of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from zope.interface import implementer

from ngpu.errors import ConfigError
from ngpu.interfaces import ISelectionPolicy, Option, PluginContext
from ngpu.model import Candidate, SelectionRequest
from ngpu.plugin import Factory


@implementer(ISelectionPolicy)
class Nearest:
    """Goes by the label ``area`` of the nodes."""

    def __init__(self, area: str, rng: Random) -> None:
        self._area = area
        self._rng = rng

    def select(self, replicas: Sequence[Candidate], request: SelectionRequest) -> Candidate | None:
        """See `ISelectionPolicy.select`."""
        return min(replicas, key=self._cost)

    def _cost(self, candidate: Candidate) -> tuple[bool, float, float]:
        replica = candidate.replica
        far = replica.node.labels.get("area") != self._area
        return far, candidate.in_flight / replica.slots, self._rng.random()


def _make(options: Mapping[str, Any], context: PluginContext) -> Nearest:
    area = options.get("area")
    if not isinstance(area, str) or not area:
        raise ConfigError("must be the area to stay in, such as eu", ("area",))
    return Nearest(area, context.rng)


nearest = Factory(
    "selection",
    "nearest",
    "Replicas in one area first, the least busy of them.",
    _make,
    (Option("area", "the label `area` of the nodes to stay with"),),
)
