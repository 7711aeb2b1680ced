"""What a step of priority is worth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngpu.model import Priority
from ngpu.tasks.lifecycle import place_of

LOW, NORMAL, HIGH = Priority

times = st.floats(0, 4e9)
ttls = st.floats(1, 1e6)


@given(times, ttls)
def test_a_step_is_a_quarter_of_the_ttl(now: float, ttl: float) -> None:
    assert place_of(now, NORMAL, ttl) == now
    assert place_of(now, HIGH, ttl) == now - ttl / 4
    assert place_of(now, LOW, ttl) == now + ttl / 4


@given(times, ttls, st.sampled_from(Priority), st.sampled_from(Priority))
def test_whoever_comes_a_task_has_its_turn_before_it_expires(
    now: float, ttl: float, mine: Priority, theirs: Priority
) -> None:
    """What comes from half of the ttl after it on comes behind it, of whatever priority."""
    assert place_of(now, mine, ttl) <= place_of(now + ttl * 0.51, theirs, ttl)
