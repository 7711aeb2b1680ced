"""What only the gateway that works on the fleet knows, and all of them tell: how far it is, and what has failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ngpu.fleet.images import Images, Job
from ngpu.fleet.situation import Situation, Vital
from ngpu.fleet.wanted import Deployment, Source


@dataclass(frozen=True)
class Facts:
    """Of one deployment.

    ``jobs``: its images on their way, (node, source, image) → how much of it is there (0 to 1), and why it rests.
    ``have``: the images that its nodes are known to have. ``refused``: why copies found no node, by node. ``troubles``:
    what was last wrong with a copy. Nodes, sources, images and copies by their keys.
    """

    jobs: Mapping[tuple[str, str, str], tuple[float, str]] = field(default_factory=dict)
    have: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    troubles: Mapping[str, str] = field(default_factory=dict)

    def job(self, node: str, source: Source, image: str) -> Job | None:
        """See `ngpu.fleet.images.Images.job`."""
        found = self.jobs.get((node, source.key, image)) or self.jobs.get((node, source.key, ""))
        return None if found is None else Job(found[0], reason=found[1])

    def resolving(self, source: Source) -> Job | None:
        """See `ngpu.fleet.images.Images.resolving`."""
        found = self.jobs.get(("", source.key, ""))
        return None if found is None else Job(found[0], reason=found[1])

    def seen_with(self, situation: Situation) -> Situation:
        """What this gateway sees by itself, with what it has heard."""
        nodes = {
            key: replace(sight, images={image: image for image in self.have[key]}) if key in self.have else sight
            for key, sight in situation.nodes.items()
        }
        vitals = dict(situation.vitals)
        for copy_id, reason in self.troubles.items():
            vital = vitals.get(copy_id, Vital(situation.now))
            if copy_id not in situation.up and not vital.reason:
                vitals[copy_id] = replace(vital, reason=reason)
        return replace(situation, nodes=nodes, vitals=vitals)

    def without_troubles(self) -> Facts:
        """The same, as if nothing had failed: of before it was asked to try again."""
        return replace(self, jobs={key: (share, "") for key, (share, _) in self.jobs.items()}, refused={}, troubles={})

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "jobs": [[*key, *job] for key, job in self.jobs.items()],
            "have": {key: list(images) for key, images in self.have.items()},
            "refused": dict(self.refused),
            "troubles": dict(self.troubles),
        }


def facts_of_document(document: Mapping[str, Any]) -> Facts:
    """What was kept as this document.

    :raises KeyError, TypeError, ValueError: another version wrote it.
    """
    return Facts(
        {(node, source, image): (float(share), reason) for node, source, image, share, reason in document["jobs"]},
        {key: tuple(images) for key, images in document["have"].items()},
        dict(document["refused"]),
        dict(document["troubles"]),
    )


def gather(
    situation: Situation,
    deployments: Iterable[Deployment],
    images: Images,
    refused: Mapping[str, Mapping[str, str]],
) -> dict[str, Facts]:
    """What there is to tell of each deployment, by its digest; nothing of those of which there is nothing to tell."""
    found: dict[str, Facts] = {}
    copies: dict[str, list[str]] = {}
    for copy in situation.copies.values():
        if not copy.leaving:
            copies.setdefault(copy.workspace, []).append(copy.id)
    for deployment in deployments:
        good = situation.standing(deployment.digest).good
        sources = {each.source.key for each in (deployment.recipe, good) if each is not None}
        mine = [situation.copies[copy_id] for copy_id in copies.get(deployment.digest, ())]
        waits = [copy for copy in mine if copy.id not in situation.up]
        facts = Facts(
            images.jobs_of(sources),
            {copy.node: tuple(sorted(images.on(copy.node))) for copy in waits if copy.node in situation.nodes},
            refused.get(deployment.digest, {}),
            {copy.id: vital.reason for copy in waits if (vital := situation.vitals.get(copy.id)) and vital.reason},
        )
        if facts != Facts():
            found[deployment.digest] = facts
    return found
