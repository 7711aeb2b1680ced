"""Records in files: every field comes back, from what this version and others have written."""

from __future__ import annotations

import marshal
import struct
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_fields import FIELDS, outcomes
from task_stores import DONE, sample

from ngpu.changing import changed
from ngpu.direct import frames
from ngpu.direct.frames import HEADER, frame_of, tasks_of
from ngpu.model import Task

ENDED = st.builds(Task, **{**FIELDS, "outcome": outcomes}, number=st.integers(0))


@settings(max_examples=200, deadline=None)
@given(st.lists(ENDED, max_size=3))
def test_every_field_comes_back_exactly(tasks: list[Task]) -> None:
    assert list(tasks_of(HEADER + b"".join(map(frame_of, tasks)))) == tasks


def of(names: tuple[Any, ...], values: tuple[Any, ...]) -> bytes:
    return b"".join(struct.pack("<I", len(each)) + each for each in (marshal.dumps(names, 2), marshal.dumps(values, 2)))


def test_fields_that_came_later_have_their_defaults_and_those_that_went_are_left_out() -> None:
    task = changed(sample("x"), outcome=DONE)
    names, values = list(frames._NAMES), list(frames._values(task))
    for name in ("request_digest", "placement.node_host"):
        at = names.index(name)
        del names[at], values[at]
    older = of((*names, "gone", "outcome.gone"), (*values, 1, 2))
    assert list(tasks_of(older)) == [task]


def test_one_without_what_it_needs_is_none() -> None:
    with pytest.raises(ValueError, match="missing"):
        list(tasks_of(of(("id",), ("x",))))
    with pytest.raises(ValueError, match=r"argument 2 is"):
        list(tasks_of(of(("id", "workspace"), ("x",))))


def test_all_fields_are_there() -> None:
    assert {name.partition(".")[0] for name in frames._NAMES} == {field.name for field in fields(Task)}
