"""The valid name that an operator may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_COMPARED = 1000
_WORD = 64


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name most like ``word``; ``None`` when none is like it. Bounded: looks at the first 1000 names."""
    if not word or len(word) > _WORD:
        return None
    candidates = {name.lower(): name for name, _ in zip(names, range(_COMPARED), strict=False) if len(name) <= _WORD}
    close = difflib.get_close_matches(word.lower(), candidates, n=1)
    return candidates[close[0]] if close else None
