"""What the fleet tells its operators: of its nodes, and of each deployment. Pure, out of one situation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ngpu.containers import Container, ContainerState
from ngpu.fleet.copies import Copy
from ngpu.fleet.images import Job
from ngpu.fleet.rollout import occupant_of
from ngpu.fleet.situation import Sight, Situation, Vital, target_of, wanted_recipe
from ngpu.fleet.wanted import Deployment, Recipe, Source
from ngpu.model import Node

_BEGINNING = (ContainerState.RUNNING, ContainerState.PENDING)


@dataclass(frozen=True)
class DeploymentReport:
    """How a workspace's copies stand, for its operator.

    ``state`` is one of deploying, serving, degraded, failed, suspended, removing; ``reason`` a sentence where there is
    something to say; ``running`` how many copies run. The rest is as the admin API shows it (docs/openapi-admin.yaml),
    JSON all through: ``copies`` {id, node, machine, revision, state, reason, health, in_flight, ports}, ``nodes``
    {address, progress, status, reason}, ``unplaced`` {address, reason}.
    """

    state: str
    reason: str = ""
    running: int = 0
    copies: Sequence[Mapping[str, Any]] = ()
    nodes: Sequence[Mapping[str, Any]] = ()
    unplaced: Sequence[Mapping[str, Any]] = ()


class Jobs(Protocol):
    """Images on their way; see `ngpu.fleet.images.Images`."""

    def job(self, node: str, source: Source, image: str) -> Job | None:
        """How it stands with an image on a node."""

    def resolving(self, source: Source) -> Job | None:
        """How it stands with a reference's digest."""


class Telling:
    """Tells of one deployment.

    :param refused: why copies found no node: node key → reason.
    :param in_flight: calls that each copy works on.
    """

    def __init__(
        self,
        situation: Situation,
        deployment: Deployment,
        jobs: Jobs,
        refused: Mapping[str, str],
        in_flight: Mapping[str, int],
    ) -> None:
        self._at = situation
        self._deployment = deployment
        self._jobs = jobs
        self._refused = refused
        self._in_flight = in_flight
        self._target = target_of(situation, deployment)
        self._wanted = wanted_recipe(situation, deployment)
        self._copies = [copy for copy in situation.copies.values() if copy.workspace == deployment.digest]

    def report(self) -> DeploymentReport:
        """All of it."""
        copies = [self._copy(copy) for copy in sorted(self._copies, key=lambda copy: (copy.since, copy.id))]
        state, reason = self._state(copies)
        running = sum(self._runs(copy) for copy in self._copies)
        unplaced = [{"address": self._address(key), "reason": why} for key, why in sorted(self._refused.items())]
        return DeploymentReport(state, reason, running, copies, list(self._nodes()), unplaced)

    def _state(self, copies: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
        standing = self._at.standing(self._deployment.digest)
        if standing.suspended:
            return "suspended", "it was undeployed; deploy it to have its copies back"
        want = self._deployment.replicas
        up = sum(copy.id in self._at.up and not copy.leaving for copy in self._copies)
        trouble = next(self._troubles(copies), "")
        held_back = standing.reason if standing.failed and self._target is standing.good else ""
        if held_back:
            held_back = (
                f"the last change never got healthy and was taken back ({held_back}); change it, or deploy again"
            )
        if up >= want:
            return "serving", held_back or trouble  # of a change that is held up
        if not trouble:
            return "deploying", held_back
        return ("degraded" if up else "failed"), trouble

    def _troubles(self, copies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        yield from filter(None, [self._image_trouble()])
        for copy in copies:
            if copy["reason"] and copy["state"] in ("down", "away", "placed", "pulling"):
                yield f"{copy['node']}: {copy['reason']}"
        if self._refused:
            yield "; ".join(f"{self._address(key)}: {why}" for key, why in sorted(self._refused.items()))

    def _image_trouble(self) -> str:
        """Why it is not known what the image is."""
        if self._wanted is not None:
            return ""
        job = self._jobs.resolving(self._deployment.recipe.source)
        first = ((sight, self._first_job(key)) for key, sight in self._at.nodes.items())
        loads = (f"{sight.node.address}: {load.reason}" for sight, load in first if load is not None and load.reason)
        return job.reason if job is not None else next(loads, "")

    def _copy(self, copy: Copy) -> dict[str, Any]:
        sight, container = self._at.nodes.get(copy.node), self._at.container(copy)
        state, reason = self._copy_state(copy, sight, container)
        replica = self._at.served.get(copy.id)
        health = "up" if copy.id in self._at.up else "down" if copy.id in self._at.troubles else "unknown"
        return {
            "id": copy.id,
            "node": self._address(copy.node),
            "machine": container.machine if container is not None else "",
            "revision": copy.revision,
            "state": state,
            "reason": reason,
            "health": health,
            "in_flight": self._in_flight.get(copy.id, 0),
            "ports": {} if replica is None else {str(port): outside for port, outside in replica.ports.items()},
        }

    def _copy_state(self, copy: Copy, sight: Sight | None, container: Container | None) -> tuple[str, str]:
        vital = self._at.vitals.get(copy.id, Vital(self._at.now))
        if copy.leaving:
            return "leaving", copy.leaving
        if sight is None or not sight.up:
            reason = "its node is not configured any more" if sight is None else sight.reason or "not asked yet"
            return ("serving" if copy.id in self._at.up else "away"), reason
        if copy.id in self._at.up:
            return "serving", ""
        if container is None:
            return self._on_its_way(copy, vital)
        reason = container.reason or vital.reason or self._at.troubles.get(copy.id, "")
        begins = container.state in _BEGINNING or (container.state is ContainerState.CREATED and not container.reason)
        settling = begins and not vital.reason
        if settling and self._at.now - vital.since <= self._deployment.patience:
            return "starting", "" if container.state is ContainerState.RUNNING else reason
        return "down", reason or "it is not healthy"

    def _on_its_way(self, copy: Copy, vital: Vital) -> tuple[str, str]:
        if vital.reason:
            return "down", vital.reason
        recipe = self._recipe(copy)
        job = None if recipe is None else self._jobs.job(copy.node, recipe.source, recipe.image)
        return ("placed", "") if job is None else ("pulling", job.reason)

    def _recipe(self, copy: Copy) -> Recipe | None:
        good = self._at.standing(self._deployment.digest).good
        return next(
            (each for each in (self._wanted, good) if each is not None and each.revision == copy.revision), None
        )

    def _nodes(self) -> Iterator[dict[str, Any]]:
        """The nodes that have copies, or get one, and how much of the image they have."""
        for key, sight in self._at.nodes.items():
            copies = [copy for copy in self._copies if copy.node == key and not copy.leaving]
            if not copies and self._first_job(key) is None:
                continue
            up = any(copy.id in self._at.up for copy in copies)
            progress, reason = self._progress(key, sight, copies)
            yield {
                "address": sight.node.address,
                "progress": round(100 * progress),
                "status": int(up),
                "reason": "" if up else reason,
            }

    def _progress(self, key: str, sight: Sight, copies: Sequence[Copy]) -> tuple[float, str]:
        """How much of the image a node has, and what is wrong there."""
        shares, reasons = [1.0], []
        for copy in copies:
            reasons.append(self._copy_state(copy, sight, sight.containers.get(copy.id))[1])
            recipe = self._recipe(copy)
            if recipe is None or copy.id in sight.containers or recipe.image in sight.images:
                continue
            job = self._jobs.job(key, recipe.source, recipe.image)
            shares.append(job.progress if job is not None else 0.0)
            reasons.append(job.reason if job is not None else "")
        first = self._first_job(key)
        if first is not None:
            shares.append(first.progress)
            reasons.append(first.reason)
        return min(shares), next(filter(None, reasons), "")

    def _first_job(self, key: str) -> Job | None:
        """How it stands with an archive of which nobody knows yet what it holds."""
        source = self._deployment.recipe.source
        pin = self._at.pins.get(source.key)
        return self._jobs.job(key, source, "") if pin is None or pin.stale else None

    def _runs(self, copy: Copy) -> bool:
        container = self._at.container(copy)
        return container is not None and container.state is ContainerState.RUNNING

    def _address(self, key: str) -> str:
        sight = self._at.nodes.get(key)
        return key if sight is None else sight.node.address


def node_report(situation: Situation, key: str, sight: Sight, engine: str, away_since: float | None) -> dict[str, Any]:
    """A node that has an engine, for the admin API."""
    held = [occupant_of(copy) for copy in situation.copies.values() if copy.node == key]
    used = {gpu for occupant in held for gpu in occupant.gpu_ids}
    state = "up" if sight.up else "away" if sight.reason else "unknown"
    return {
        **_described(sight.node),
        "engine": engine,
        "state": state,
        "reason": sight.reason,
        "away_since": None if sight.up else away_since,
        "draining": sight.drained,
        "gpus": {**_gpus(sight.node), "free": sum(gpu not in used for gpu in sight.gpu_ids)},
        "memory": sight.memory,
        "copies": len(held),
    }


def static_node_report(node: Node, memory: int) -> dict[str, Any]:
    """A node without an engine, whose replicas run already."""
    return {
        **_described(node),
        "engine": None,
        "state": "static",
        "reason": "",
        "away_since": None,
        "draining": False,
        "gpus": {**_gpus(node), "free": node.gpus.count},
        "memory": memory,
        "copies": 0,
    }


def _described(node: Node) -> dict[str, Any]:
    return {"address": node.address, "host": node.host, "labels": dict(node.labels)}


def _gpus(node: Node) -> dict[str, Any]:
    return {"type": node.gpus.type, "count": node.gpus.count, "memory": node.gpus.memory}
