"""What this version can serve of all that a configuration may say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ngpu.settings.document import Document
from ngpu.settings.endpoint import outdated
from ngpu.settings.report import Path, Problem


def check_scope(document: Document) -> Iterator[Problem]:
    """What is right but cannot be served by this version."""
    engines = any(node.get("engine") for _, node in document.blocks("nodes"))
    for path, workspace in document.blocks("workspaces"):
        if workspace.get("upstream") and workspace.get("image") is not None:
            yield _at(document, (*path, "image"), "stands beside upstream: leave out one of them", at_key=True)
        elif workspace.get("image") and not engines:
            yield _at(document, (*path, "image"), "no node has an engine: to deploy it with", at_key=True)
        elif workspace.get("image") is None and not workspace.get("upstream"):
            yield _at(document, path, "has neither image: nor upstream: with replicas that run already")


def warnings(document: Document) -> Iterator[Problem]:
    """What is accepted and has no effect."""
    for path, _ in document.blocks("workspaces"):
        if document.get(*path, "rate", "burst") and not document.get(*path, "rate", "per_second"):
            yield _at(document, (*path, "rate", "burst"), "has no effect without per_second", at_key=True)


def outdated_certificates(document: Document, now: float) -> Iterator[Problem]:
    """Listeners whose certificate has expired, or is not valid yet.

    :param now: seconds since 1970.
    """
    for block in (("listen",), ("admin", "listen")):
        listed = document.get(*block)
        for index, text in enumerate(listed if isinstance(listed, list) else ()):
            why = outdated(text, now)
            if why:
                yield _at(document, (*block, index), why)


def _at(document: Document, path: Path, message: str, *, at_key: bool = False) -> Problem:
    spot: Any = document.spot(path)
    return Problem(spot.first if at_key else spot.value, path, message)
