"""What operators are told of the fleet's decisions, once they are kept."""

from __future__ import annotations

from twisted.logger import Logger, LogLevel

from ngpu.fleet.copies import Copy
from ngpu.fleet.rollout import Changes
from ngpu.fleet.situation import Situation

log = Logger("ngpu.fleet")


def tell(changes: Changes, before: Situation) -> None:
    """Log what has become of copies, and of versions that were rolled out.

    :param before: what was known when it was decided.
    """
    for copy in changes.put.values():
        _tell_of_copy(copy, before.copies.get(copy.id), before)
    for copy_id in changes.forget & before.copies.keys():
        copy = before.copies[copy_id]
        log.info("copy {replica} on {node} is no more", journal="copy_gone", **_about(copy, before))
    for digest, standing in changes.standings.items():
        was, label = before.standing(digest), _label(digest, before)
        if standing.failed and standing.failed != was.failed:
            log.error(
                "the new version of {workspace} never got healthy: {reason}",
                journal="deploy_failed",
                workspace=label,
                reason=standing.reason,
            )
        elif standing.good is not None and standing.good != was.good:
            log.info("{workspace} is healthy as it is wanted", journal="deploy_done", workspace=label)
        elif standing.tried is not None and standing.tried != was.tried:
            log.info("a version of {workspace} is rolled out", journal="deploy_begun", workspace=label)


def _tell_of_copy(copy: Copy, was: Copy | None, before: Situation) -> None:
    about = _about(copy, before)
    if was is None:
        log.info("copy {replica} is placed on {node}", journal="copy_placed", **about)
    elif copy.leaving and not was.leaving:
        sight = before.nodes.get(copy.node)
        level = LogLevel.warn if sight is None or not sight.up else LogLevel.info
        log.emit(level, "copy {replica} leaves {node}: {why}", journal="copy_leaves", why=copy.leaving, **about)
    elif copy.node != was.node:
        log.warn("copy {replica} is on {node} now", journal="copy_moved", **about)


def _about(copy: Copy, before: Situation) -> dict[str, str]:
    sight = before.nodes.get(copy.node)
    node = copy.node if sight is None else sight.node.address
    return {"workspace": _label(copy.workspace, before), "node": node, "replica": copy.id}


def _label(digest: str, before: Situation) -> str:
    deployment = before.deployments.get(digest)
    return "" if deployment is None else deployment.label
