"""The admin API's route of figures over time."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime

from ngpu.errors import BadRequest
from ngpu.http.admin import AdminRoute, parameter
from ngpu.http.reply import Reply
from ngpu.http.server import NgpuRequest
from ngpu.series import LONGEST, STEP, Rows, points
from ngpu.settings.units import UnitError, duration
from ngpu.wire.replies import success
from ngpu.workspaces import Workspaces


class AdminSeries:
    """The route; it takes a request and gives a `Reply`."""

    def __init__(self, rows: Rows, workspaces: Workspaces, clock: IReactorTime) -> None:
        self._rows = rows
        self._workspaces = workspaces
        self._clock = clock

    @property
    def routes(self) -> Sequence[AdminRoute]:
        """All of them."""
        return (("GET", "/series", self.series),)

    async def series(self, request: NgpuRequest) -> Reply:
        """``?workspace=`` its id, ``&window=`` how far back."""
        workspace = parameter(request, "workspace")
        if not workspace:
            raise BadRequest("workspace is missing: add ?workspace=… with the id of one to the address")
        self._workspaces.get(workspace)
        seconds = _window(parameter(request, "window") or "1h")
        found = points(await self._rows(workspace, seconds), self._clock.seconds(), seconds)
        return Reply({**success(), "step": STEP, "points": found})


def _window(text: str) -> float:
    try:
        seconds = duration(text)
    except UnitError as error:
        raise BadRequest(f"window: {error}") from None
    if not STEP <= seconds <= LONGEST:
        raise BadRequest(f"window must be from {STEP}s to {LONGEST // 3600}h")
    return seconds
