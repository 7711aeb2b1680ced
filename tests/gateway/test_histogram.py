"""A histogram of ours says what one of prometheus_client's would."""

from __future__ import annotations

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from ngpu.histogram import Histogram
from ngpu.metrics import BUCKETS

SECONDS = st.one_of(st.sampled_from(BUCKETS), st.floats(0, 1000))


@given(st.lists(st.tuples(SECONDS, st.sampled_from(["a", 'b"\n']), st.sampled_from(["x", "y"])), max_size=30))
def test_it_is_the_same_text(observed: list[tuple[float, str, str]]) -> None:
    registries = CollectorRegistry(), CollectorRegistry()
    ours = Histogram("n_seconds", "Meaning", ["one", "two"], BUCKETS, registries[0])
    theirs = prometheus_client.Histogram(
        "n_seconds", "Meaning", ["one", "two"], buckets=BUCKETS, registry=registries[1]
    )
    for seconds, *labels in observed:
        ours.observe(seconds, *labels)
        theirs.labels(*labels).observe(seconds)
    texts = [generate_latest(registry).decode().splitlines() for registry in registries]
    assert texts[0] == [line for line in texts[1] if "n_seconds_created" not in line]


def test_what_is_removed_is_shown_no_more() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("n_seconds", "Meaning", ["one", "two"], BUCKETS, registry)
    for labels in (("a", "x"), ("a", "y"), ("b", "x")):
        histogram.observe(0.3, *labels)
    histogram.remove_by_labels({"one": "a"})
    assert histogram.counts("a", "x") == ()
    assert sum(histogram.counts("b", "x")) == 1
    assert b'one="a"' not in generate_latest(registry)
