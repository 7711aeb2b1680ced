"""``workspaces``: what customers bring, and how it is served."""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator, model_validator

from ngpu.settings.block import Block, FrozenMap, concealed, refusal, written
from ngpu.settings.container import ContainerSettings, PlacementSettings
from ngpu.settings.fleet import Address
from ngpu.settings.kinds import (
    MOST,
    Count,
    CountFrom1,
    Duration,
    Labels,
    Line,
    Name,
    Options,
    PathAndQuery,
    PortMap,
    PositiveDuration,
    PositiveSize,
    Size,
    Text,
    matching,
)
from ngpu.settings.raw import Raw, VirtualHost

SLOWEST_RATE = 0.001
"""Submissions a second: one in a quarter of an hour; who wants fewer wants a quota."""


def _workspace_id(text: str) -> str:
    if text.startswith("ngpu_"):
        raise refusal("must be the id without ngpu_, which clients may put before it")
    return text


def _key_hash(text: str) -> str:
    return text.lower()


def _webhook_secret(text: str) -> str:
    if text:
        try:
            key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not text.startswith("whsec_") or not key:
            raise refusal("must be whsec_ and the secret in base64, or empty")
    return text


def _environment_name(text: str) -> str:
    if not text or "=" in text or "\0" in text:
        raise refusal("this is no name of an environment variable")
    return text


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise refusal("holds a NUL character, which no program can be given")
    return text


def _command(value: Any) -> Any:
    if isinstance(value, str):
        raise refusal('must be a list of the program and its arguments: ["python", "launch.py"]')
    return value


WorkspaceId = Annotated[
    Text,
    matching(r"[A-Za-z0-9._-]{1,64}", "must be 1 to 64 letters, digits, '.', '_' or '-'"),
    AfterValidator(_workspace_id),
]
KeyHash = Annotated[
    Text, matching(r"[0-9A-Fa-f]{64}", "must be the sha256 of an API key, 64 hex digits"), AfterValidator(_key_hash)
]


_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
Reference = Annotated[
    Text,
    # it stands in addresses of the engine, so it must not lead to others (distribution's reference grammar)
    matching(
        rf"(?=.{{1,512}}\Z)(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?",
        "must be an image's name, such as registry.example/app:1 or busybox",
    ),
]
Argument = Annotated[Text, AfterValidator(_without_nul)]


class Image(Block):
    """Where a workspace's Docker image comes from: ``reference`` in a registry, or a tar (a path or an https URL)."""

    reference: Reference | None = None
    archive: Name | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Image:
        if (self.reference is None) == (self.archive is None):
            raise refusal("must have either reference: or archive:")
        return self


class WorkspaceGpus(Block):
    """The GPUs that one replica needs, and the bytes of memory each of them must have; ``count`` 0: none."""

    type: Text = ""
    count: Count = 1
    memory: Size = 0


class Upstream(Block):
    """A replica that runs already: declared port → port on the node's host."""

    node: Address
    ports: PortMap


class HealthCheck(Block):
    """``GET path`` on the first port every ``interval``; a replica may take ``grace`` to come up. Times in seconds."""

    path: Annotated[PathAndQuery, matching("/.*", "must begin with '/'")] = "/"
    interval: PositiveDuration = written("10s")
    timeout: PositiveDuration = written("5s")
    grace: Duration = written("2m")


class Queue(Block):
    """How many tasks may wait, and for how many seconds each may."""

    limit: Count = 1000
    ttl: PositiveDuration = written("1d")


def _rate(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and (value == 0 or SLOWEST_RATE <= value <= MOST):
        return float(value)
    raise refusal(f"must be a number such as 5 or 0.5, of at least {SLOWEST_RATE}, or 0 for no limit")


class RateSettings(Block):
    """Submissions a second, and how many at once (0: as many as in a second, at least 1); 0 sets no limit."""

    per_second: Annotated[float, PlainValidator(_rate)] = 0.0
    burst: Count = 0


class QuotaSettings(Block):
    """How many tasks a day, in the configured time zone; 0 sets no limit."""

    per_day: Count = 0


class RequiredGpus(Block):
    """The GPUs that a node must have: of this type ("": any), each with so many bytes of memory at least."""

    type: Text = ""
    memory: Size = 0


class Require(Block):
    """What a node must have for its replicas to get calls."""

    gpus: RequiredGpus = written({})
    labels: Labels = written({})


class Selection(Block):
    """The plugin that chooses a replica, its options, and which nodes' replicas it may choose at all."""

    policy: Name = "fastest"
    options: Options = written({})
    require: Require = written({})


class Workspace(Block):
    """One customer's workload. Durations are seconds, sizes bytes; the keys' meanings stand in ``config/ngpu.yaml``."""

    id: WorkspaceId
    name: Line = ""
    keys: tuple[KeyHash, ...] = concealed(())
    image: Image | None = None
    command: Annotated[tuple[Argument, ...], BeforeValidator(_command)] = ()
    env: FrozenMap[Annotated[Text, AfterValidator(_environment_name)], Argument] = concealed({})
    gpus: WorkspaceGpus = written({})
    replicas: Count = 2
    container: ContainerSettings = written({})
    placement: PlacementSettings = written({})
    ports: PortMap
    upstream: tuple[Upstream, ...] = ()
    health: HealthCheck = written({})
    path: PathAndQuery = ""
    slots: CountFrom1 = 1
    queue: Queue = written({})
    rate: RateSettings = written({})
    quota: QuotaSettings = written({})
    timeout: PositiveDuration = written("5m")
    retention: Duration = written("7d")
    inline_wait: Duration = written("0s")
    retry: Literal["never", "connect", "idempotent"] = "connect"
    body_limit: Size = written("64MiB")
    result_limit: PositiveSize = written("256MiB")
    selection: Selection = written({})
    hosts: tuple[VirtualHost, ...] = ()
    raw: Raw = written({})
    gate: Name | None = None
    webhook_secret: Annotated[Text, AfterValidator(_webhook_secret)] = concealed("")
    apps: FrozenMap[Text, Name] = written({})

    @cached_property
    def label(self) -> str:
        """What logs and metrics call it: its name, and enough of a digest to tell namesakes apart.

        Never the id, which opens a workspace that has no keys.
        """
        return f"{self.name or 'workspace'}-{hashlib.sha256(self.id.encode()).hexdigest()[:8]}"
