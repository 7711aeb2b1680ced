"""Frozen values that cost no more to make than others."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

T = TypeVar("T")


def thawed(kind: type[T]) -> type[T]:
    """For a frozen dataclass of which each call makes some: frozen for mypy, which sees who sets a field, and no more.

    What freezes one at run time makes it dear: ``__init__`` calls ``object.__setattr__`` for each field, which takes
    six times as long as setting it.
    """
    made: dict[str, Any] = {}
    head, body = ["self"], []
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass, as its decorator is above this one
        head.append(field.name)
        if field.default is not MISSING:
            made[f"_{field.name}"] = field.default
            head[-1] += f"=_{field.name}"
        elif field.default_factory is not MISSING or not field.init:
            raise TypeError(f"{kind.__name__}.{field.name} cannot be set like this")
        body.append(f"self.{field.name} = {field.name}")
    exec(f"def __init__({', '.join(head)}):\n    " + "\n    ".join(body), made)  # noqa: S102  # as `dataclass` itself does
    made["__init__"].__qualname__ = f"{kind.__qualname__}.__init__"
    kind.__init__ = made["__init__"]  # type: ignore[method-assign]
    del kind.__setattr__, kind.__delattr__
    return kind
