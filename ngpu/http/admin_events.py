"""The admin API's route of the journal: what has happened lately."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ngpu.errors import BadRequest
from ngpu.http.admin import AdminRoute, parameter, whole_number
from ngpu.http.reply import Reply
from ngpu.http.server import NgpuRequest
from ngpu.journal import KEPT, KINDS, SEVERITIES, Entry, Journal
from ngpu.model import Node, node_key
from ngpu.wire.replies import success

LISTED = 200
"""Events that are shown where nobody says."""

_LATEST = 1 << 53
"""More than any id is, and the largest number that programs in JavaScript keep exactly."""


class Telling:
    """Shows entries with the ids of their workspaces, and their nodes' addresses as they are configured.

    :param labels: of the workspaces, by id, live.
    :param nodes: the nodes, by key.
    """

    def __init__(self, labels: Mapping[str, str], nodes: Mapping[str, Node]) -> None:
        self._labels = labels
        self._nodes = nodes

    def shown(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        """The entries as the admin API has them."""
        ids = {label: workspace_id for workspace_id, label in self._labels.items()} if entries else {}
        return [
            {
                "id": each.id,
                "time": each.time,
                "severity": each.severity,
                "kind": each.kind,
                "message": each.message,
                "workspace": ids.get(each.workspace, ""),
                "workspace_label": each.workspace,
                "node": self._address(each.node),
                "replica": each.replica,
                "task": each.task,
                "gateway": each.gateway,
                "count": each.count,
            }
            for each in entries
        ]

    def label(self, workspace_id: str) -> str:
        """The label of a workspace; of none, or of a label, itself."""
        return self._labels.get(workspace_id, workspace_id)

    def _address(self, node: str) -> str:
        known = self._nodes.get(node_key(node))
        return node if known is None else known.address


class AdminEvents:
    """The route; it takes a request and gives a `Reply`."""

    def __init__(self, journal: Journal, telling: Telling) -> None:
        self._journal = journal
        self._telling = telling

    @property
    def routes(self) -> Sequence[AdminRoute]:
        """All of them."""
        return (("GET", "/events", self.events),)

    async def events(self, request: NgpuRequest) -> Reply:
        """Those after an id, the oldest first; without one the newest."""
        limit = whole_number(request, "limit", 1, KEPT, LISTED)
        after = event_id(parameter(request, "after"), "after")
        fits = self._filter(request)
        wanted = [each for each in self._journal.after(after or 0) if fits(each)]
        cut = wanted[:limit] if after is not None else wanted[-limit:]
        last = cut[-1].id if len(cut) < len(wanted) and after is not None else max(self._journal.last, after or 0)
        return Reply({**success(), "events": self._telling.shown(cut), "last": last})

    def _filter(self, request: NgpuRequest) -> Callable[[Entry], bool]:
        kind, severity = parameter(request, "kind"), parameter(request, "severity") or SEVERITIES[0]
        workspace, node = parameter(request, "workspace"), parameter(request, "node")
        if kind is not None and kind not in KINDS:
            raise BadRequest(f"kind must be one of {', '.join(sorted(KINDS))}")
        if severity not in SEVERITIES:
            raise BadRequest(f"severity must be one of {', '.join(SEVERITIES)}: it is the least that is shown")
        least = SEVERITIES.index(severity)
        label = None if workspace is None else self._telling.label(workspace)
        return lambda entry: (
            kind in (None, entry.kind)
            and SEVERITIES.index(entry.severity) >= least
            and label in (None, entry.workspace)
            and (node is None or node_key(entry.node) == node_key(node))
        )


def event_id(text: str | None, name: str) -> int | None:
    """The id of an event that a client shows.

    :raises BadRequest: it is none.
    """
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) < _LATEST):
        raise BadRequest(f"{name} must be the id of an event, which is a whole number")
    return int(text)
