"""``nodes``: the machines of the fleet."""

from __future__ import annotations

from typing import Annotated

from ngpu.settings.block import Block, written
from ngpu.settings.kinds import Count, CountFrom1, FilePath, Host, Labels, Name, Size, Text, matching

Address = Annotated[Name, matching(r"\S+", "must be a node's address, without spaces")]
Engine = Annotated[
    Text,
    matching(r"unix:///\S+|tcp://[^\s/:]+:[0-9]{1,5}", "must be unix:///run/docker.sock or tcp://host:2376"),
]


class NodeGpus(Block):
    """The GPUs of a machine; ``memory`` is that of each in bytes, 0 where it is not said."""

    type: Text = ""
    count: Count = 0
    memory: Size = 0


class EngineTls(Block):
    """The files with which a remote Docker engine is reached over TLS."""

    ca: FilePath
    cert: FilePath
    key: FilePath


class NodeSettings(Block):
    """One machine: its Ethereum address, the host where its published ports are reached, and what it has.

    ``weight`` says how much of the work it gets beside others.
    """

    address: Address
    host: Host
    engine: Engine | None = None
    tls: EngineTls | None = None
    gpus: NodeGpus = written({})
    labels: Labels = written({})
    weight: CountFrom1 = 1
