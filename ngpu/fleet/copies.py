"""The fleet's documents: which copies are meant to be where, which revision was good, what an image is pinned to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ngpu.fleet.wanted import Recipe, recipe_of


@dataclass(frozen=True, slots=True)
class Copy:
    """One wanted container of a workspace; durable before its engine is asked for it.

    ``workspace`` is a digest, ``node`` a node's key. ``ports`` maps declared ports to container ports, ``pinned`` are
    those of the host that it insists on. ``leaving`` says why it has to go, "" as long as it stays.
    """

    id: str
    workspace: str
    node: str
    revision: str
    gpu_ids: tuple[str, ...] = ()
    memory: int = 0
    pinned: tuple[int, ...] = ()
    ports: Mapping[int, int] = field(default_factory=dict)
    stop_grace: float = 10.0
    since: float = 0.0
    leaving: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON can hold it, without the id, which is its key."""
        kept = asdict(self)
        del kept["id"]
        return {
            **kept,
            "gpu_ids": list(self.gpu_ids),
            "pinned": list(self.pinned),
            "ports": [list(pair) for pair in self.ports.items()],
        }


def copy_of(key: str, document: Mapping[str, Any]) -> Copy:
    """The copy that was kept as this document.

    :raises KeyError, TypeError, ValueError: another version wrote it.
    """
    return Copy(
        **{
            **document,
            "id": key,
            "gpu_ids": tuple(document["gpu_ids"]),
            "pinned": tuple(document["pinned"]),
            "ports": {int(declared): int(inside) for declared, inside in document["ports"]},
        }
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """How a workspace's deployment stands.

    ``tried`` is what its copies were last to be made of, ``good`` what they were healthy with, last; ``failed`` is the
    revision that never got healthy, ``reason`` why. ``suspended``: it was undeployed, until it is deployed again.
    """

    suspended: bool = False
    tried: Recipe | None = None
    good: Recipe | None = None
    failed: str = ""
    reason: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "suspended": self.suspended,
            "tried": None if self.tried is None else self.tried.document(),
            "good": None if self.good is None else self.good.document(),
            "failed": self.failed,
            "reason": self.reason,
        }


def standing_of(document: Mapping[str, Any]) -> Standing:
    """The standing that was kept as this document.

    :raises KeyError, TypeError, ValueError: another version wrote it.
    """
    recipes = {name: document[name] for name in ("tried", "good")}
    return Standing(
        **{**document, **{name: None if each is None else recipe_of(each) for name, each in recipes.items()}}
    )


@dataclass(frozen=True, slots=True)
class Pin:
    """What a source is pinned to. ``stale``: its archive is to be loaded again, and may hold another image by now."""

    image: str
    stale: bool = False

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def pin_of(document: Mapping[str, Any]) -> Pin:
    """The pin that was kept as this document.

    :raises TypeError: another version wrote it.
    """
    return Pin(**document)
