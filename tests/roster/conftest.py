"""Every hall of a test stops at its end, with nothing left under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from roster_rig import Hall


@pytest.fixture
def make_hall() -> Iterator[Callable[..., Hall]]:
    halls: list[Hall] = []

    def make(*args: Any, **keys: Any) -> Hall:
        halls.append(Hall(*args, **keys))
        return halls[-1]

    yield make
    for hall in halls:
        hall.stop()


@pytest.fixture
def hall(make_hall: Callable[..., Hall]) -> Hall:
    return make_hall()
