"""From settings to working parts: wiring, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import IO, Any, TypeVar

from twisted.internet.threads import deferToThreadPool

from ngpu.adapter import IAppAdapter
from ngpu.addresses import is_address
from ngpu.allowance import Allowances
from ngpu.backlog import Backlog
from ngpu.calls import Caller
from ngpu.discovery import Plugins
from ngpu.egress import Egress
from ngpu.fetch import Fetcher, make_fetcher
from ngpu.fleet.health import HealthChecks
from ngpu.fleet.replicas import nodes_by_key, upstream_replicas
from ngpu.forward import make_forwarder
from ngpu.gates import Gate
from ngpu.gateway import Gateway
from ngpu.http.access_log import AccessLog, annotate
from ngpu.http.admin import admin_resource
from ngpu.http.budget import BodyBudget
from ngpu.http.call import Call
from ngpu.http.listener import ListenerSite
from ngpu.http.partner import MakeCall, partner_resource, partner_routes
from ngpu.http.queueing import Queueing
from ngpu.http.reading import Reading
from ngpu.http.routes import Route
from ngpu.http.server import Limits, NgpuRequest
from ngpu.http.streaming import Streaming
from ngpu.http.submitting import Submitting
from ngpu.http.wishing import Wishing
from ngpu.interfaces import ITaskStore, PluginContext
from ngpu.line import Line
from ngpu.lookup import make_resolver
from ngpu.media import Media
from ngpu.metrics import Metrics
from ngpu.model import CHUNK
from ngpu.pool import Pool
from ngpu.settings import AppRoute, Loaded, Settings, SqliteStore
from ngpu.stores.sqlite.store import SqliteTaskStore
from ngpu.tasks.conversations import Conversations
from ngpu.tasks.dispatcher import Dispatcher
from ngpu.tasks.runs import Runs
from ngpu.tenancy import Tenancy
from ngpu.upstream.pool import Pool as Connections
from ngpu.webhooks.delivery import Webhooks
from ngpu.webhooks.endpoint import vetted
from ngpu.wire.envelope import Envelope, parse_envelope, parse_flat

OURS = ("body_memory", "streams")
"""Of ``limits``, what is not the server's."""

T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """What has to be started and stopped, and what the listeners serve."""

    store: SqliteTaskStore
    connections: Connections
    fetcher: Fetcher
    receivers: Fetcher
    dispatcher: Dispatcher
    webhooks: Webhooks
    health: HealthChecks
    lines: Mapping[str, Line]
    public: ListenerSite
    admin: ListenerSite


def assemble(loaded: Loaded, plugins: Plugins, reactor: Any, token: str, access_log: IO[str]) -> Parts:
    """Make everything, start nothing.

    :param token: of the admin listener.
    :param access_log: where its lines go.
    :raises ConfigError: a plugin is unknown or refuses its options.
    """
    settings = loaded.settings
    workspaces = {workspace.id: workspace for workspace in settings.workspaces}
    metrics = Metrics({workspace.id: workspace.label for workspace in settings.workspaces})
    fetcher = make_fetcher(reactor)
    context = PluginContext(reactor, Random(), str(settings.folder), fetcher)
    lines = _lines(settings, plugins, context)
    if not isinstance(settings.store, SqliteStore):
        raise loaded.located(("store", "kind"), "this version keeps tasks in SQLite only")
    store = SqliteTaskStore(settings.store.path, reactor)
    connections = Connections(reactor)
    forwarder = make_forwarder(reactor, connections)
    media = Media(settings.store.path.parent / "media", settings.media.url, settings.media.ttl, reactor)
    caller = Caller(forwarder, reactor, metrics)
    adapters = _adapters(settings, plugins, context)
    egress = Egress(settings.egress.allow, make_resolver(reactor))
    conversations = Conversations(
        adapters,
        store=store,
        caller=caller,
        lines=lines,
        workspaces=workspaces,
        clock=reactor,
        urls=egress,
        publish=media.publish,
    )
    runs = Runs(store, caller, reactor, metrics, conversations)
    dispatcher = Dispatcher(store, runs, lines, workspaces, reactor)
    gates = _gates(settings, plugins, context)
    gateway = Gateway(
        store=store,
        runs=runs,
        dispatcher=dispatcher,
        lines=lines,
        gates=gates,
        zone=settings.zone,
        clock=reactor,
        metrics=metrics,
    )
    backlog = Backlog(
        gateway,
        store=store,
        runs=runs,
        dispatcher=dispatcher,
        gates=gates,
        zone=settings.zone,
        clock=reactor,
        metrics=metrics,
    )
    receivers = make_fetcher(reactor, connect=vetted(reactor, egress))
    webhooks = Webhooks(store, receivers, workspaces, reactor, Random(), metrics)
    health = HealthChecks(forwarder, lines, workspaces, reactor, metrics)
    limits = Limits(**{name: value for name, value in settings.limits if name not in OURS})
    routes = _routes(settings, gateway, backlog, runs, store, egress, adapters, media, metrics, reactor)
    public = partner_resource(routes, _make_call(settings))
    admin = admin_resource(gateway, token, settings.admin.open_metrics)
    return Parts(
        store,
        connections,
        fetcher,
        receivers,
        dispatcher,
        webhooks,
        health,
        lines,
        ListenerSite(public, reactor, limits, AccessLog("public", access_log, metrics)),
        ListenerSite(admin, reactor, limits, AccessLog("admin", access_log, metrics)),
    )


def _lines(settings: Settings, plugins: Plugins, context: PluginContext) -> dict[str, Line]:
    nodes = nodes_by_key(settings.nodes)
    lines = {}
    for workspace in settings.workspaces:
        policy = plugins.make("selection", workspace.selection.policy, workspace.selection.options, context)
        pool = Pool(upstream_replicas(workspace, nodes), policy)
        lines[workspace.id] = Line(pool, context.clock, workspace.health.interval)
    return lines


def _gates(settings: Settings, plugins: Plugins, context: PluginContext) -> dict[str, Gate]:
    return {
        name: Gate(gate, plugins.make("checker", gate.checker, gate.options, context), context.clock, is_address)
        for name, gate in settings.gates.items()
    }


def _adapters(settings: Settings, plugins: Plugins, context: PluginContext) -> dict[str, IAppAdapter]:
    return {
        name: plugins.make("adapter", app.adapter, app.options, context)
        for name, app in settings.apps.items()
        if isinstance(app, AppRoute)
    }


def _make_call(settings: Settings) -> MakeCall:
    tenancy = Tenancy(settings.workspaces)

    def make_call(request: NgpuRequest) -> Call:
        call = Call(request, tenancy, settings.trusted_proxies)
        annotate(request, client=call.client_ip)
        return call

    return make_call


def _routes(
    settings: Settings,
    gateway: Gateway,
    backlog: Backlog,
    runs: Runs,
    store: ITaskStore,
    egress: Egress,
    adapters: Mapping[str, IAppAdapter],
    media: Media,
    metrics: Metrics,
    reactor: Any,
) -> tuple[tuple[str, str, Route], ...]:
    workspaces = {workspace.id: workspace for workspace in settings.workspaces}

    async def in_thread(work: Callable[[], T]) -> T:
        return await deferToThreadPool(reactor, reactor.getThreadPool(), work)

    async def parse(body: bytes, flat: bool) -> Envelope:
        read = parse_flat if flat else parse_envelope
        return read(body) if len(body) <= CHUNK else await in_thread(lambda: read(body))

    reading = Reading(gateway, workspaces, media)
    allowances = Allowances(store, settings.zone, reactor)
    submitting = Submitting(
        gateway,
        reading,
        workspaces,
        settings.apps,
        adapters,
        parse,
        BodyBudget(settings.limits.body_memory, reactor),
        backlog,
        allowances,
        Wishing(egress, in_thread),
    )
    streaming = Streaming(gateway, runs, reactor, metrics, settings.limits.streams)
    return partner_routes(reading, submitting, Queueing(gateway, backlog, allowances), streaming)
