"""Frozen values that cost no more to make than others are values like any other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from ngpu.thawed import thawed


@thawed
@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2


@thawed
@dataclass(frozen=True, slots=True)
class Named(Point):
    name: str = "p"


def test_they_are_made_compared_hashed_and_replaced() -> None:
    assert Named(1) == Named(x=1, y=2, name="p") != Named(1, 3)
    assert len({Named(1), Named(1, 2), Named(1, name="q")}) == 2
    assert replace(Named(1), y=5) == Named(1, 5)
    assert repr(Named(1, 5, "q")) == "Named(x=1, y=5, name='q')"
    assert not hasattr(Named(1), "__dict__")


def test_arguments_are_asked_for_as_ever() -> None:
    for arguments in ({}, {"x": 1, "z": 2}):
        with pytest.raises(TypeError):
            Named(**arguments)


def test_what_it_could_not_make_is_refused() -> None:
    @dataclass(frozen=True)
    class Each:
        things: list[int] = field(default_factory=list)

    with pytest.raises(TypeError, match=r"Each\.things"):
        thawed(Each)
