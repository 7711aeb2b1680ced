"""From the configuration to replicas: those that run already (``workspaces[].upstream``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ngpu.member import Health, Member
from ngpu.model import Gpus, Node, Replica, Requirement, node_key
from ngpu.settings import NodeSettings, Workspace


def nodes_by_key(nodes: Iterable[NodeSettings]) -> Mapping[str, Node]:
    """The configured nodes, by their address in its comparable spelling."""
    return {
        node_key(node.address): Node(
            node.address,
            node.host,
            Gpus(node.gpus.type, node.gpus.count, node.gpus.memory),
            dict(node.labels),
            node.weight,
        )
        for node in nodes
    }


def upstream_replicas(workspace: Workspace, nodes: Mapping[str, Node]) -> list[Replica]:
    """The replicas that ``upstream`` lists, in its order."""
    return [
        Replica(
            f"{workspace.label}/{node_key(upstream.node)}/{index}",
            workspace.id,
            nodes[node_key(upstream.node)],
            dict(upstream.ports),
            workspace.slots,
        )
        for index, upstream in enumerate(workspace.upstream)
    ]


def requirement(workspace: Workspace) -> Requirement:
    """What a node must have for its replicas to get the workspace's calls."""
    require = workspace.selection.require
    return Requirement(require.gpus.type, require.gpus.memory, dict(require.labels))


def nodes_serving(members: Iterable[Member]) -> Mapping[str, bool]:
    """The nodes that hold these replicas, each once and as configured: whether one of its replicas is up."""
    serving: dict[str, tuple[str, bool]] = {}
    for member in members:
        address = member.replica.node.address
        before = serving.get(node_key(address), (address, False))
        serving[node_key(address)] = (before[0], before[1] or member.health is Health.UP)
    return dict(serving.values())
