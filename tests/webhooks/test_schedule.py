"""When a webhook is tried again, and when it is given up."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import pytest
from page_blocks import told

from ngpu.webhooks.message import signature
from ngpu.webhooks.schedule import DELAYS, JITTER, LONGEST_WAIT, next_try

NOW = 1_700_000_000.0


def test_twelve_tries_within_a_day() -> None:
    rng, now, tries = Random(1), NOW, 0
    while True:
        tries += 1
        due_at = next_try(tries, 500, None, now, rng)
        if due_at is None:
            break
        assert DELAYS[tries - 1] * (1 - JITTER) <= due_at - now <= DELAYS[tries - 1] * (1 + JITTER)
        now = due_at
    assert tries == 12
    assert 15 * 3600 < now - NOW < 86400 * 1.15
    assert sum(DELAYS) < 86400


def test_no_two_tries_of_many_come_at_one_moment() -> None:
    rng = Random(1)
    assert len({next_try(1, None, None, NOW, rng) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("status", "retry_after", "least", "most"),
    [
        (500, 0.0, 4.0, 6.0),
        (503, 2.0, 4.0, 6.0),
        (503, 60.0, 60.0, 60.0),
        (429, 1e9, LONGEST_WAIT, LONGEST_WAIT),
        (None, None, 4.0, 6.0),
        (302, None, 4.0, 6.0),
        (404, None, 4.0, 6.0),
    ],
)
def test_what_a_receiver_asks_for_is_heeded_within_bounds(
    status: int | None, retry_after: float | None, least: float, most: float
) -> None:
    due_at = next_try(1, status, retry_after, NOW, Random(1))
    assert due_at is not None and least <= due_at - NOW <= most


@pytest.mark.parametrize("tries", [1, 5])
def test_gone_is_for_good(tries: int) -> None:
    assert next_try(tries, 410, 5.0, NOW, Random(1)) is None


def test_a_signature_that_others_have_computed() -> None:
    """The example of the Standard Webhooks libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    told = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert told == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_receiver_of_the_documentation_believes_us_and_nobody_else() -> None:
    (shown,) = told("webhooks")
    names: dict[str, Any] = {}
    exec(shown.text, names)
    now = int(time.time())
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"result_code":200}'

    def headers(at: int, signed: bytes = body) -> dict[str, str]:
        shown = signature(secret, "t.0", at, signed)
        return {"webhook-id": "t.0", "webhook-timestamp": str(at), "webhook-signature": shown}

    assert names["is_ours"](secret, headers(now), body)
    assert not names["is_ours"](secret, headers(now, b"other"), body)
    assert not names["is_ours"](secret, headers(now - 3600), body)
    assert not names["is_ours"]("whsec_AAAA", headers(now), body)
