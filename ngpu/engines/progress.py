"""How much of an image has come, out of what an engine says meanwhile. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ngpu.engines.reading import BadAnswer, mapping

FETCH, UNPACK = 0.7, 0.3
"""The parts of the work, each by the layers' bytes."""

MOST_LAYERS = 512
"""Names of layers that one answer may have; Docker's images have up to 127."""


@dataclass(slots=True)
class _Layer:
    size: int = 0
    fetched: float = 0.0
    unpacked: float = 0.0


class Layers:
    """A pull: 70 % of each layer is its download, the rest its unpacking.

    A layer's size is known once its download begins; until then it counts as much as one of the others does. Layers
    that are there already do not count.
    """

    def __init__(self) -> None:
        self._layers: dict[str, _Layer] = {}
        self._share = 0.0

    def heard(self, message: Mapping[str, Any]) -> float:
        """The share from 0 to 1 after a message; never less than before, and less than 1 until the pull has ended."""
        status, layer_id = message.get("status"), message.get("id")
        detail = mapping(message.get("progressDetail") or {})
        if isinstance(status, str) and isinstance(layer_id, str):
            self._note(status, layer_id, detail)
        if self._layers:
            self._share = max(self._share, min(self._computed(), 0.99))
        return self._share

    def _note(self, status: str, layer_id: str, detail: Mapping[str, Any]) -> None:
        if status.startswith("Pulling from"):
            return
        if status == "Already exists":
            self._layers.pop(layer_id, None)  # nothing is to be done for it
            return
        if len(self._layers) >= MOST_LAYERS and layer_id not in self._layers:
            raise BadAnswer("an image of more layers than there can be")
        layer = self._layers.setdefault(layer_id, _Layer())
        current, total = _number(detail.get("current")), _number(detail.get("total"))
        if status == "Downloading" and total:
            layer.size = max(layer.size, total)
            layer.fetched = max(layer.fetched, min(current / total, 1.0))
        elif status == "Extracting":
            layer.fetched = 1.0
            layer.unpacked = max(layer.unpacked, min(current / total, 1.0) if total else 0.0)
        elif status in ("Verifying Checksum", "Download complete"):
            layer.size = max(layer.size, 1)
            layer.fetched = 1.0
        elif status == "Pull complete":
            layer.size = max(layer.size, 1)
            layer.fetched = layer.unpacked = 1.0

    def _computed(self) -> float:
        known = [layer.size for layer in self._layers.values() if layer.size]
        typical = sum(known) / len(known) if known else 1
        done = whole = 0.0
        for layer in self._layers.values():
            size = layer.size or typical
            whole += size
            done += size * (FETCH * layer.fetched + UNPACK * layer.unpacked)
        return done / whole


class Loaded:
    """A load: 70 % is handing the archive over, the rest is what the engine makes of it.

    :param size: of the archive in bytes; ``None`` until it is known.
    :ivar names: what the engine says that it has loaded: tags, or ids of images without any.
    """

    def __init__(self, size: int | None) -> None:
        self.names: list[str] = []
        self._size = size
        self._handed = 0.0
        self._unpacked: dict[str, int] = {}

    def handed(self, taken: int, ended: bool = False) -> float:
        """The share from 0 to 1 after so many bytes."""
        if ended:
            self._size = self._size or taken
            self._handed = FETCH
        elif self._size:
            self._handed = max(self._handed, FETCH * min(taken / self._size, 1.0))
        return self._handed

    def heard(self, message: Mapping[str, Any]) -> float:
        """The share after something that the engine says once it has the archive."""
        detail, layer_id, line = mapping(message.get("progressDetail") or {}), message.get("id"), message.get("stream")
        if isinstance(layer_id, str) and len(self._unpacked) < MOST_LAYERS:
            self._unpacked[layer_id] = max(self._unpacked.get(layer_id, 0), _number(detail.get("current")))
        if isinstance(line, str):
            for said in line.splitlines():
                head, _, name = said.partition(": ")
                if head in ("Loaded image", "Loaded image ID") and len(self.names) < MOST_LAYERS:
                    self.names.append(name.strip())
        unpacked = sum(self._unpacked.values()) / self._size if self._size else 0.0
        return min(self._handed + UNPACK * min(unpacked, 1.0), 0.99)


def _number(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
