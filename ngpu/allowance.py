"""What a workspace may still submit: its rate and its quota, asked before a request is read."""

from __future__ import annotations

import math
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from twisted.internet.interfaces import IReactorTime

from ngpu.errors import OverLimit
from ngpu.limits import Allowance, ILimits, Quota, Rate
from ngpu.settings import Workspace

DAY = 86400
"""Seconds that the window of a quota is said to have; where clocks are changed it is an hour more or less."""


def rate_of(workspace: Workspace) -> Rate | None:
    """The workspace's ``rate``; ``None`` where it has none."""
    rate = workspace.rate
    if not rate.per_second:
        return None
    return Rate(rate.per_second, rate.burst or max(1, math.ceil(rate.per_second)))


def quota_of(workspace: Workspace, now: float, zone: ZoneInfo) -> Quota | None:
    """The workspace's ``quota`` with its window of now, a day of that zone; ``None`` where it has none."""
    if not workspace.quota.per_day:
        return None
    today = datetime.fromtimestamp(now, zone).date()
    midnight = datetime.combine(today + timedelta(days=1), time(), zone).astimezone(UTC)
    return Quota(workspace.quota.per_day, today.isoformat(), max(1, math.ceil(midnight.timestamp() - now)))


def unlimited(workspace: Workspace) -> bool:
    """Whether it has neither ``rate`` nor ``quota``, so that there is nothing to ask `Allowances` for."""
    return not workspace.rate.per_second and not workspace.quota.per_day


class Allowances:
    """Asks what is counted in the store, which all gateways share.

    :param zone: in which days begin.
    """

    def __init__(self, counted: ILimits, zone: ZoneInfo, clock: IReactorTime) -> None:
        self._counted = counted
        self._zone = zone
        self._clock = clock

    async def take(self, workspace: Workspace, known: bool = False) -> tuple[Allowance, ...]:
        """Count a submission against the rate, and see that the quota has room for it: the store counts it there.

        :param known: it may be one that came before, which costs nothing of the quota: the store decides.
        :returns: how the limits stand after it; empty where the workspace has none.
        :raises OverLimit: it may not come now.
        """
        standing: list[Allowance] = []
        refused: OverLimit | None = None
        rate = rate_of(workspace)
        if rate is not None:
            pace = await self._counted.pace(workspace.id, rate, self._clock.seconds())
            window = max(1, math.ceil(rate.burst / rate.per_second))
            standing.append(Allowance("rate", rate.burst, window, pace.left, math.ceil(pace.full_in)))
            if pace.wait:
                refused = OverLimit(
                    f"this workspace may submit {rate.per_second:g} requests a second, {rate.burst} at once; slow down",
                    max(1, math.ceil(pace.wait)),
                )
        quota = quota_of(workspace, self._clock.seconds(), self._zone)
        if quota is not None:
            left = quota.limit - await self._counted.used(workspace.id, quota.window)
            shown = max(0, left - (refused is None))
            standing.append(Allowance("quota", quota.limit, DAY, shown, quota.retry_after))
            if left <= 0 and not known:
                refused = OverLimit(
                    f"this workspace's quota of {quota.limit} tasks a day is used up", quota.retry_after
                )
        if refused is not None:
            raise OverLimit(str(refused), refused.retry_after, tuple(standing))
        return tuple(standing)
