"""Settings as they are shown: as they were given, without what may be secret."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ngpu.settings import is_secret_key, secret_spans_in

MASK = "***"
"""Stands in the place of a secret. It is refused where it is sent, so that nobody loses keys by changing the rest."""

Path = tuple[str | int, ...]


def shown(value: Any, secret: bool = False) -> Any:
    """A value as JSON may have it, with `MASK` for each secret."""
    if isinstance(value, Mapping):
        return {str(key): shown(each, secret or is_secret_key(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shown(each, secret) for each in value]
    if secret and value not in ("", None):
        return MASK
    if isinstance(value, str):
        return _without_secrets(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def masked(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where settings that are sent have a `MASK`."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from masked(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from masked(each, (*path, index))
    elif value == MASK:
        yield path


def _without_secrets(text: str) -> str:
    pieces, done = [], 0
    for start, end in sorted(secret_spans_in(text)):
        if start >= done:
            pieces += [text[done:start], MASK]
            done = end
    return "".join([*pieces, text[done:]])
