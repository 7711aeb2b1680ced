"""The public listener put together: from the use cases to what it serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.web.resource import IResource

from ngpu.adapter import IAppAdapter
from ngpu.allowance import Allowances
from ngpu.backlog import Backlog
from ngpu.cloud.desk import Desk
from ngpu.egress import Egress
from ngpu.gateway import Gateway
from ngpu.http.access_log import annotate
from ngpu.http.budget import BodyBudget
from ngpu.http.call import Call
from ngpu.http.cloud import CloudCalls
from ngpu.http.pages import Pages
from ngpu.http.partner import partner_resource, partner_routes
from ngpu.http.queueing import Queueing
from ngpu.http.raw import Raw
from ngpu.http.reading import Reading
from ngpu.http.server import NgpuRequest
from ngpu.http.streaming import Streaming
from ngpu.http.submitting import Submitting
from ngpu.http.taking import Taking
from ngpu.http.wishing import Wishing
from ngpu.media import Media
from ngpu.metrics import Metrics
from ngpu.roster import Roster
from ngpu.settings import Settings
from ngpu.tasks.runs import Runs

OURS = ("body_memory", "streams")
"""Of ``limits``, what is not the server's."""

T = TypeVar("T")


def public_resource(
    settings: Settings,
    *,
    gateway: Gateway,
    backlog: Backlog,
    runs: Runs,
    roster: Roster,
    adapters: Mapping[str, IAppAdapter],
    urls: Egress,
    media: Media,
    desk: Desk | None,
    raw: Raw,
    allowances: Allowances,
    metrics: Metrics,
    reactor: Any,
) -> IResource:
    """What customers, and their command-line clients, are served."""

    async def in_thread(work: Callable[[], T]) -> T:
        return await deferToThreadPool(reactor, reactor.getThreadPool(), work)

    def make_call(request: NgpuRequest) -> Call:
        call = Call(request, roster.tenancy, settings.trusted_proxies)
        annotate(request, client=call.client_ip)
        return call

    reading = Reading(gateway, roster.workspaces, media)
    submitting = Submitting(
        gateway,
        reading,
        roster.workspaces,
        settings.apps,
        adapters,
        Taking(in_thread, reactor),
        BodyBudget(settings.limits.body_memory, reactor),
        backlog,
        allowances,
        Wishing(urls),
    )
    streaming = Streaming(gateway, runs, reactor, metrics, settings.limits.streams)
    routes = partner_routes(reading, submitting, Queueing(gateway, backlog, allowances), streaming)
    calls = None if desk is None else CloudCalls(desk.accounts, desk.counter)
    pages = Pages(in_thread).routes if settings.api_pages else ()
    return partner_resource(routes, make_call, calls, raw, pages)
