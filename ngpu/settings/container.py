"""``workspaces[].container`` and ``placement``: how a copy of an image runs, and where."""

from __future__ import annotations

from typing import Annotated

from ngpu.settings.block import Block, FrozenMap, written
from ngpu.settings.kinds import Count, Duration, Name, Options, Port, PortKey, Size, Text, Truth, matching

AbsolutePath = Annotated[Text, matching(r"/[^\x00-\x1f:]*", "must be an absolute path")]


class MountSettings(Block):
    """A folder of the host in the container."""

    source: AbsolutePath
    target: AbsolutePath
    read_only: Truth = True


class ContainerSettings(Block):
    """What a copy may use of its machine; sizes are bytes, 0 sets no limit.

    ``publish`` pins declared ports to ports of the host, which allows one copy a node; any free port is taken
    otherwise. ``stop_grace`` is the seconds between TERM and KILL.
    """

    memory: Size = 0
    pids: Count = 4096
    shm: Size = 0
    user: Text = ""
    read_only: Truth = False
    tmpfs: tuple[AbsolutePath, ...] = ()
    mounts: tuple[MountSettings, ...] = ()
    publish: FrozenMap[PortKey, Port] = written({})
    stop_grace: Duration = written("10s")


class PlacementSettings(Block):
    """The plugin that prefers nodes to others, its options, and the labels that a node must have."""

    policy: Name = "spread"
    options: Options = written({})
    labels: FrozenMap[Text, Text] = written({})
