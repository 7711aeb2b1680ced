"""The frozen values that the rooms hand to each other: times in seconds since the epoch (UTC), sizes in bytes."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from ngpu.thawed import thawed


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs of a node: the type as the operator names it, how many, the memory of each in bytes (0: not said)."""

    type: str = ""
    count: int = 0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the fleet.

    ``address`` is its Ethereum address as configured (wire contract §7), ``host`` where its ports are reached.
    """

    address: str
    host: str
    gpus: Gpus = Gpus()
    labels: Mapping[str, str] = field(default_factory=dict)
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a node must have for a workspace's calls: a GPU type ("": any), memory of each GPU in bytes, labels."""

    gpu: str = ""
    memory: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)

    def met_by(self, node: Node) -> bool:
        """Whether the node has all of it. Types and labels compare as they are written."""
        if (self.gpu and node.gpus.type != self.gpu) or node.gpus.memory < self.memory:
            return False
        return not self.labels or all(node.labels.get(name) == value for name, value in self.labels.items())


def node_key(address: str) -> str:
    """A node address in the one spelling in which two of them compare (wire contract §4): lower case, no ``0x``."""
    return address.strip().lower().removeprefix("0x")


@dataclass(frozen=True, slots=True)
class Replica:
    """One running copy of a workspace's image.

    ``ports`` maps a declared port (``paramPort``) to the port on ``node.host`` where this copy listens;
    ``slots`` is how many calls it works on at once.
    """

    id: str
    workspace: str
    node: Node
    ports: Mapping[int, int]
    slots: int = 1


class Candidate(Protocol):
    """An available replica as a selection policy sees it, live: read it, and never keep it between choices.

    Only an `ngpu.interfaces.IObservingPolicy` may keep it, until it is told that it is available no more.
    """

    @property
    def replica(self) -> Replica:
        """Which replica this is."""

    @property
    def in_flight(self) -> int:
        """Calls it works on now; always below ``replica.slots``."""

    @property
    def latency(self) -> float | None:
        """Moving average of its call times in seconds.

        A call that failed counts as a slow one, however fast the failure came. A new replica has the median of the
        others, until it has calls of its own; ``None``: nothing is known of any.
        """

    @property
    def last_used(self) -> float | None:
        """When it last finished a call; ``None`` for a cold one."""

    @property
    def suspect(self) -> bool:
        """Whether many of its calls failed of late. It is among the choices only while no other is available."""


@thawed
@dataclass(frozen=True, slots=True)
class SelectionRequest:
    """What a selection policy may know of the request it chooses for.

    ``headers`` are the fields that go to the replica. ``affinity`` is what an `ngpu.interfaces.IAffinePolicy` made of
    the customer's request as it came in, "" for none.
    """

    workspace: str
    port: int
    path: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    affinity: str = ""


class Body(Protocol):
    """The bytes of a request or result, wherever they are kept. May be read more than once."""

    @property
    def length(self) -> int:
        """How many bytes there are."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes from the start, in pieces that are small enough to hold (256 KiB or less)."""


CHUNK = 256 * 1024
"""Bodies up to this size are kept in one piece; larger ones are read and written in pieces of this size."""


@thawed
@dataclass(frozen=True, slots=True)
class BytesBody:
    """A body in memory."""

    data: bytes = b""

    @property
    def length(self) -> int:
        """How many bytes there are."""
        return len(self.data)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces."""
        view = memoryview(self.data)
        for start in range(0, len(view), CHUNK):
            yield bytes(view[start : start + CHUNK])


@thawed
@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A call to a replica, without its body: what is sent once a replica is chosen.

    ``target`` is the origin-form request target (path and query, RFC 9112 §3.2.1), ``port`` a declared port,
    ``headers`` end-to-end fields only.
    """

    method: str
    target: str
    port: int
    headers: tuple[tuple[bytes, bytes], ...] = ()


@thawed
@dataclass(frozen=True, slots=True)
class ReplyHead:
    """Status and end-to-end header fields of a replica's reply."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def header(self, name: bytes) -> bytes | None:
        """The first field of that (lower-case) name."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class TaskStatus(enum.StrEnum):
    """Where a task is; the values are those of queryTask's ``status`` (wire contract §8)."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self not in (TaskStatus.QUEUED, TaskStatus.RUNNING)


class Priority(enum.IntEnum):
    """Which of a workspace's tasks run first; what a step of it is worth says `ngpu.tasks.lifecycle.place_of`."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class DataForm(enum.StrEnum):
    """How a request's ``data`` came, and so how its result goes back (wire contract §1)."""

    STRING = "string"
    OBJECT = "object"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an attempt runs. Empty strings before there was one."""

    replica: str = ""
    node_address: str = ""
    node_host: str = ""


@thawed
@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended.

    ``code`` is 200 or the status a caller is told, ``reason`` a sentence for people; ``worker_status`` is the replica's
    HTTP status (0: it never answered). ``size`` is the stored result's, in bytes; ``text`` says that it is UTF-8,
    ``json`` that it is a JSON document (looked at only where the request's form was ``object``).
    """

    status: TaskStatus
    code: int = 200
    reason: str = ""
    worker_status: int = 0
    content_type: str = ""
    size: int = 0
    text: bool = True
    json: bool = False


@thawed
@dataclass(frozen=True)
class Task:
    """The record of one request: who, where, when, how long.

    ``attempt`` is the fencing number: it grows with every attempt; a write with an older one is refused. ``number`` is
    the store's running number (0 before it was added), ``user_key`` a fingerprint of the credential. ``request_text``
    says that the request's bytes are UTF-8, ``direct`` that a client waits for it on its connection, and never in the
    queue. ``app`` names the app whose adapter converses with workers for it ("": one call, passed through),
    ``checkpoint`` is where that conversation stands, in JSON, once a worker has the job ("": not yet).

    Tasks wait in the order of ``place``, a time: that of the submission, moved by the priority. ``retries`` counts how
    often the task was put back into the queue after it had ended. ``webhook`` is the URL that is told of each end ("":
    none), ``idempotency_key`` a digest of what the customer told the request by ("": nothing), ``request_digest`` one
    of the request itself, where there is such a key.
    """

    id: str
    workspace: str
    method: str
    request: UpstreamRequest
    form: DataForm
    submitted_at: float
    expires_at: float
    timeout: float
    request_url: str = ""
    request_size: int = 0
    request_text: bool = True
    direct: bool = False
    btc_address: str = ""
    client_ip: str = ""
    user_key: str = ""
    status: TaskStatus = TaskStatus.QUEUED
    attempt: int = 0
    placement: Placement = Placement()
    started_at: float | None = None
    ended_at: float | None = None
    outcome: Outcome | None = None
    app: str = ""
    checkpoint: str = ""
    priority: Priority = Priority.NORMAL
    place: float = 0.0
    retries: int = 0
    webhook: str = ""
    idempotency_key: str = ""
    request_digest: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Holdings:
    """What an address holds: ticker (as the gate spells it) to overall balance; one that it has none of is left out.

    ``height`` is the block up to which the source has counted; ``None`` where it does not say.
    """

    balances: Mapping[str, Decimal]
    height: int | None = None
