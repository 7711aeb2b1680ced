"""The admin API's routes of reloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ngpu.http.admin import AdminRoute
from ngpu.http.reply import Reply
from ngpu.http.server import NgpuRequest
from ngpu.processes.reloads import Reloads
from ngpu.wire.replies import success


class AdminReload:
    """Asking for one, and seeing what became of it: it takes longer than a call may wait."""

    def __init__(self, reloads: Reloads) -> None:
        self._reloads = reloads

    @property
    def routes(self) -> Sequence[AdminRoute]:
        """All of them."""
        return (("GET", "/reload", self.show), ("POST", "/reload", self.ask))

    async def show(self, request: NgpuRequest) -> Reply:
        """Which generation serves, and why the last reload changed nothing."""
        return Reply({**success(), **self._known()})

    async def ask(self, request: NgpuRequest) -> Reply:
        """Have the configuration read anew; what is told is how it stood before."""
        reply = Reply({**success("the configuration is read anew"), **self._known()})
        self._reloads.ask()
        return reply

    def _known(self) -> dict[str, Any]:
        reloads = self._reloads
        return {"generation": reloads.generation, "refusals": reloads.refusals, "reason": reloads.why}
