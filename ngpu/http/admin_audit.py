"""The admin API's route of the audit."""

from __future__ import annotations

from collections.abc import Sequence

from ngpu.audit import Auditor
from ngpu.http.admin import AdminRoute
from ngpu.http.reply import Reply
from ngpu.http.server import NgpuRequest
from ngpu.wire.replies import success


class AdminAudit:
    """One part of the store a call, so that no call takes long; whoever asks goes on with ``cursor``."""

    def __init__(self, auditor: Auditor) -> None:
        self._auditor = auditor

    @property
    def routes(self) -> Sequence[AdminRoute]:
        """All of them."""
        return (("GET", "/audit", self.page),)

    async def page(self, request: NgpuRequest) -> Reply:
        """``?cursor=``: where the part before said that this one begins."""
        cursor = request.args.get(b"cursor", [b""])[-1].decode("latin-1")
        page = await self._auditor.page(cursor or None)
        following = {} if page.cursor is None else {"cursor": page.cursor}
        return Reply(
            {
                **success("a part of the store was looked at" if following else "the store was looked at to its end"),
                "counts": page.counts,
                "accepted": page.accepted,
                "findings": [finding._asdict() for finding in page.findings],
                **following,
            }
        )
