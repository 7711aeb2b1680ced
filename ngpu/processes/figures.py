"""The metrics of several processes as one exposition: each sample says in ``process`` whose it is."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FAMILY = re.compile(r"^# HELP (\S+) ", re.MULTILINE)


def together(expositions: Iterable[str]) -> bytes:
    """Several expositions as one, each family at one place, as the format wants it; samples have to differ already."""
    heads: dict[str, str] = {}
    samples: dict[str, list[str]] = {}
    for exposition in expositions:
        starts = [(found.start(), found[1]) for found in _FAMILY.finditer(exposition)]
        ends = [start for start, _ in starts[1:]] + [len(exposition)]
        for (start, name), end in zip(starts, ends, strict=True):
            about, kind, rest = exposition[start:end].split("\n", 2)
            heads.setdefault(name, f"{about}\n{kind}\n")
            samples.setdefault(name, []).append(rest)
    return "".join(head + "".join(samples[name]) for name, head in heads.items()).encode()
