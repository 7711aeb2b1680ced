"""The contract of placement policies: `ngpu.placing.IPlacementPolicy`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from typing import Any

from ngpu.model import Gpus
from ngpu.placing import Demand, Offer
from ngpu.testing.contract import Contract
from ngpu.testing.making import SEED
from ngpu.testing.offers import GIB, demand, offer

MANY = 60

DEMANDS = (
    demand(0),
    demand(),
    demand(8, 64 * GIB, "RTX 3090", "registry.example/a@sha256:00", (8080,)),
    Demand("w", labels={"area": "eu"}),
)


def verify_placement(contract: Contract) -> None:
    """Try every clause."""
    policy, offers = contract.make(), list(_offers())
    costs = [[_cost(contract, policy, each, asked) for each in offers] for asked in DEMANDS]
    other = contract.make(contract.context(seed=SEED + 1))
    for asked, before in reversed(list(zip(DEMANDS, costs, strict=True))):
        for each, cost in reversed(list(zip(offers, before, strict=True))):
            if {_cost(contract, policy, each, asked), _cost(contract, other, each, asked)} != {cost}:
                contract.broken(
                    "cost says now so, now so of the same offer: it must depend on the offer and the demand alone, not "
                    "on chance, time or what it was asked before"
                )


def _offers() -> Iterator[Offer]:
    """Empty and busy ones, with and without GPUs, memory and the image, on unequal machines."""
    for number in range(MANY):
        free = number % 9
        yield offer(
            f"{number:x}",
            copies=number % 4,
            others=number % 7 * 10,
            gpus_free=free,
            memory_free=number % 3 * 100 * GIB,
            has_image=number % 2 == 0,
            weight=1 + number % 5,
            gpus=Gpus("RTX 3090", 8, 24 * GIB) if free else Gpus(),
            labels={"area": "eu" if number % 2 else "us"} if number % 3 else {},
        )


def _cost(contract: Contract, policy: Any, each: Offer, asked: Demand) -> tuple[float, ...]:
    given = copy.deepcopy((each, asked))
    try:
        cost = policy.cost(each, asked)
    except (Exception, SystemExit) as error:
        contract.broken(
            f"cost raised over {each!r} and {asked!r}; it must put a price on every offer, and change neither", error
        )
    if inspect.isawaitable(cost):
        if inspect.iscoroutine(cost):
            cost.close()
        contract.broken("cost is asynchronous; it must answer at once, and do no I/O")
    if type(cost) is not tuple or not all(isinstance(part, int | float) for part in cost):
        contract.broken(f"cost returned {cost!r}; it must be a tuple of numbers")
    if any(part != part for part in cost):
        contract.broken(f"cost returned {cost!r}; NaN compares with nothing")
    if (each, asked) != given:
        contract.broken("cost changed the offer or the demand that it was given")
    return cost
