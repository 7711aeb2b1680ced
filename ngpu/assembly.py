"""From settings to working parts: wiring, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import IO, Any

from twisted.internet.threads import deferToThreadPool
from twisted.web.resource import IResource

from ngpu.addresses import is_address
from ngpu.calls import Caller
from ngpu.discovery import Plugins
from ngpu.fetch import Fetcher, make_fetcher
from ngpu.fleet.health import HealthChecks
from ngpu.fleet.replicas import nodes_by_key, upstream_replicas
from ngpu.forward import make_forwarder
from ngpu.gates import Gate
from ngpu.gateway import Gateway
from ngpu.http.access_log import AccessLog, annotate
from ngpu.http.admin import admin_resource
from ngpu.http.call import Call
from ngpu.http.listener import ListenerSite
from ngpu.http.partner import partner_resource
from ngpu.http.reading import Reading
from ngpu.http.server import Limits, NgpuRequest
from ngpu.http.submitting import Submitting
from ngpu.interfaces import PluginContext
from ngpu.line import Line
from ngpu.metrics import Metrics
from ngpu.model import CHUNK
from ngpu.pool import Pool
from ngpu.settings import Loaded, Settings, SqliteStore
from ngpu.tasks.dispatcher import Dispatcher
from ngpu.tasks.runs import Runs
from ngpu.tasks.stores.sqlite.store import SqliteTaskStore
from ngpu.tenancy import Tenancy
from ngpu.upstream.pool import Pool as Connections
from ngpu.wire.envelope import Envelope, parse_envelope


@dataclass(frozen=True)
class Parts:
    """What has to be started and stopped, and what the listeners serve."""

    store: SqliteTaskStore
    connections: Connections
    fetcher: Fetcher
    dispatcher: Dispatcher
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
    runs = Runs(store, Caller(forwarder, reactor, metrics), reactor, metrics)
    dispatcher = Dispatcher(store, runs, lines, workspaces, reactor)
    gateway = Gateway(
        store=store,
        runs=runs,
        dispatcher=dispatcher,
        lines=lines,
        gates=_gates(settings, plugins, context),
        zone=settings.zone,
        clock=reactor,
        metrics=metrics,
    )
    health = HealthChecks(forwarder, lines, workspaces, reactor, metrics)
    limits = Limits(**dict(settings.limits))
    public = _public(settings, gateway, reactor)
    admin = admin_resource(gateway, token, settings.admin.open_metrics)
    return Parts(
        store,
        connections,
        fetcher,
        dispatcher,
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


def _public(settings: Settings, gateway: Gateway, reactor: Any) -> IResource:
    workspaces = {workspace.id: workspace for workspace in settings.workspaces}
    tenancy = Tenancy(settings.workspaces)

    async def parse(body: bytes) -> Envelope:
        if len(body) <= CHUNK:
            return parse_envelope(body)
        return await deferToThreadPool(reactor, reactor.getThreadPool(), parse_envelope, body)

    def make_call(request: NgpuRequest) -> Call:
        call = Call(request, tenancy, settings.trusted_proxies)
        annotate(request, client=call.client_ip)
        return call

    reading = Reading(gateway, workspaces)
    return partner_resource(reading, Submitting(gateway, reading, workspaces, settings.apps, parse), make_call)
