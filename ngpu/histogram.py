"""A histogram for Prometheus that costs a call next to nothing: prometheus_client's takes two locks and a loop."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class Histogram(Collector):
    """Counts seconds, for the reactor's thread alone.

    :param name: with its unit, as Prometheus has it.
    :param names: of the labels.
    :param bounds: of the buckets, in seconds, each with what is as long; above the last one there is one more.
    """

    def __init__(
        self, name: str, meaning: str, names: Sequence[str], bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._meaning = meaning
        self._names = tuple(names)
        self._bounds = bounds
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        registry.register(self)

    def observe(self, seconds: float, *labels: str) -> None:
        """Something took so long."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(self._bounds, seconds)] += 1
        self._sums[labels] += seconds

    def counts(self, *labels: str) -> Sequence[int]:
        """How many there were in each bucket; empty where nobody has observed any for these labels."""
        return tuple(self._counts.get(labels, ()))

    def remove_by_labels(self, labels: Mapping[str, str]) -> None:
        """Show those that have these labels no more."""
        wanted = labels.items()
        for key in [key for key in self._counts if wanted <= dict(zip(self._names, key, strict=True)).items()]:
            del self._counts[key], self._sums[key]

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._names)
        bounds = [floatToGoString(bound) for bound in (*self._bounds, float("inf"))]  # type: ignore[no-untyped-call]
        for labels, counts in self._counts.items():
            total, buckets = 0, []
            for bound, count in zip(bounds, counts, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric(labels, buckets, self._sums[labels])
        yield family

    def describe(self) -> Iterator[Metric]:
        """See `Collector.describe`."""
        yield HistogramMetricFamily(self._name, self._meaning, labels=self._names)
