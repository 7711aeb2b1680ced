"""What a gateway is made of, as far as somebody has to start and stop it."""

from __future__ import annotations

from dataclasses import dataclass

from ngpu.archives.opening import Archives
from ngpu.cloud.desk import Desk
from ngpu.direct import Spool
from ngpu.fetch import Fetcher
from ngpu.fleet.fleet import Fleet
from ngpu.fleet.health import HealthChecks
from ngpu.following import Following
from ngpu.http.admin_live import AdminLive
from ngpu.http.listener import ListenerSite
from ngpu.journal import Journal
from ngpu.pulse import Pulse
from ngpu.roster import Roster
from ngpu.series import Series
from ngpu.storing import IStore
from ngpu.tasks.dispatcher import Dispatcher
from ngpu.tracing import ITracing
from ngpu.upstream.pool import Pool as Connections
from ngpu.webhooks.delivery import Webhooks
from ngpu.workspaces import Workspaces


@dataclass(frozen=True)
class Parts:
    """What has to be started and stopped, and what the listeners serve."""

    store: IStore
    spool: Spool
    connections: Connections
    fetcher: Fetcher
    receivers: Fetcher
    dispatcher: Dispatcher
    webhooks: Webhooks
    health: HealthChecks
    roster: Roster
    workspaces: Workspaces
    following: Following
    desk: Desk | None
    archives: Archives
    fleet: Fleet
    journal: Journal
    live: AdminLive
    series: Series
    pulse: Pulse
    tracing: ITracing | None
    public: ListenerSite
    admin: ListenerSite
