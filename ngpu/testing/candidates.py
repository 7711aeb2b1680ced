"""Replicas as a selection policy sees them, without a fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ngpu.model import Candidate, Gpus, Node, Replica, SelectionRequest

WORKSPACE = "367614711220405248"
PORT = 8080


@dataclass(frozen=True, slots=True)
class FakeCandidate:
    """A `ngpu.model.Candidate`; frozen, so that a policy that writes on it is found out."""

    replica: Replica
    in_flight: int = 0
    latency: float | None = None
    last_used: float | None = None
    suspect: bool = False


def candidate(
    name: str,
    in_flight: int = 0,
    latency: float | None = None,
    last_used: float | None = None,
    slots: int = 1,
    weight: int = 1,
    gpu: str = "",
    labels: Mapping[str, str] | None = None,
    suspect: bool = False,
) -> Candidate:
    """An available replica of that name, on a node of its own.

    :param latency: seconds; ``None`` before its first call.
    :param last_used: seconds since the epoch; ``None`` for a cold one.
    :param suspect: whether many of its calls failed of late.
    """
    node = Node(f"0x{name}", "127.0.0.1", Gpus(gpu, 1 if gpu else 0), labels or {}, weight)
    return FakeCandidate(Replica(name, WORKSPACE, node, {PORT: 18080}, slots), in_flight, latency, last_used, suspect)


def request(
    path: str = "/", headers: tuple[tuple[bytes, bytes], ...] = (), port: int = PORT, affinity: str = ""
) -> SelectionRequest:
    """A request to choose for."""
    return SelectionRequest(WORKSPACE, port, path, headers, affinity)
