"""Records of ended tasks ↔ the bytes of a file, one after the other: as little work for each as there can be.

A file begins with the names of the fields. So a later version reads what an earlier one has left.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from operator import attrgetter
from struct import Struct
from typing import Any

from ngpu.model import DataForm, Outcome, Placement, Priority, Task, TaskStatus, UpstreamRequest

_PARTS = {"request": UpstreamRequest, "placement": Placement, "outcome": Outcome}
_ENUMS: dict[str, type[Enum]] = {
    "form": DataForm,
    "status": TaskStatus,
    "priority": Priority,
    "outcome.status": TaskStatus,
}
_NAMES = tuple(
    name
    for field in fields(Task)
    for name in (
        [f"{field.name}.{each.name}" for each in fields(_PARTS[field.name])] if field.name in _PARTS else [field.name]
    )
)
_values = attrgetter(*(f"{name}._value_" if name in _ENUMS else name for name in _NAMES))
_FORMAT = 2  # of marshal: the last one that does not look for what is there twice
_length = Struct("<I")


def frame_of(task: Task) -> bytes:
    """A task that has ended, with its outcome."""
    data = marshal.dumps(_values(task), _FORMAT)
    return _length.pack(len(data)) + data


_names = marshal.dumps(_NAMES, _FORMAT)
HEADER = _length.pack(len(_names)) + _names
"""What a file begins with."""


def tasks_of(data: bytes) -> Iterator[Task]:
    """Those in a file, as they were written.

    :raises ValueError: from here on it is no such file: cut, damaged, or of a version that was quite different.
    """
    names: tuple[str, ...] = ()
    at = 0
    while at < len(data):
        start = at + _length.size
        if start > len(data) or (end := start + _length.unpack_from(data, at)[0]) > len(data):
            raise ValueError("it was cut")
        try:
            values = marshal.loads(data[start:end])
            if names:
                yield _task(dict(zip(names, values, strict=True)))
            else:
                names = tuple(values)
        except (EOFError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(str(error)) from error
        at = end


def _task(values: dict[str, Any]) -> Task:
    parts: dict[str, dict[str, Any]] = {name: {} for name in _PARTS}
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if name not in _NAMES:
            continue  # of a later version
        made: Any = _ENUMS[name](value) if name in _ENUMS else value
        part, _, rest = name.partition(".")
        if rest:
            parts[part][rest] = made
        else:
            plain[name] = made
    plain |= {name: kind(**parts[name]) for name, kind in _PARTS.items()}
    return Task(**plain)
