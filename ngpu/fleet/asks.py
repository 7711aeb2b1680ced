"""What operators ask of a deployment: kept as documents of their own, so that any gateway can take them.

Whoever works on the fleet takes them up, in the order in which they were made: it brings them into its own documents,
then forgets them. Until then, every gateway shows the fleet as it will be. Taking one up twice does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ngpu.fleet.copies import Pin, Standing

FORGOTTEN = 60.0
"""Seconds after which what was asked of a workspace that is not there is forgotten; before, it may only be news."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Have a workspace's copies, or, where it is ``suspended``, have none.

    ``workspace`` is its digest; ``at`` seconds since the epoch. ``source`` is the key of an image's source that is to
    be found out anew: ``image`` is what it is now, "" for an archive, which has to be loaded to know.
    """

    workspace: str
    at: float
    suspended: bool = False
    source: str = ""
    image: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    def standing(self, before: Standing | None) -> Standing:
        """How the deployment stands with it."""
        before = before or Standing()
        if self.suspended:
            return replace(before, suspended=True)
        return replace(before, suspended=False, failed="", reason="")

    def pin(self, pins: Mapping[str, Pin]) -> Pin | None:
        """What its source is pinned to with it; ``None`` where that does not change."""
        if not self.source:
            return None
        if self.image:
            return Pin(self.image)
        before = pins.get(self.source)
        return None if before is None else replace(before, stale=True)


def ask_of(document: Mapping[str, Any]) -> Ask:
    """What was kept as this document.

    :raises TypeError: another version wrote it.
    """
    return Ask(**document)
