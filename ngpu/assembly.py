"""From settings to working parts: wiring, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import IO, Any

from ngpu.allowance import Allowances
from ngpu.archives.opening import Archives
from ngpu.audit import Auditor
from ngpu.backlog import Backlog
from ngpu.calls import Caller
from ngpu.certificates import Certificates
from ngpu.cloud.deployed import Deployed
from ngpu.cloud.desk import make_desk
from ngpu.direct import DirectCalls, Spool
from ngpu.discovery import Plugins
from ngpu.egress import Egress
from ngpu.errors import ConfigError
from ngpu.fetch import make_fetcher
from ngpu.figures import Exposing, Figures
from ngpu.fleet.fleet import Fleet
from ngpu.fleet.health import HealthChecks
from ngpu.fleet.making import make_fleet
from ngpu.fleet.replicas import nodes_by_key
from ngpu.fleet.serving import Serving
from ngpu.following import Following
from ngpu.forward import make_forwarder
from ngpu.gateway import Gateway
from ngpu.http import cloud
from ngpu.http.access_log import AccessLog
from ngpu.http.admin import path_without_ids
from ngpu.http.admin_audit import AdminAudit
from ngpu.http.admin_events import AdminEvents, Telling
from ngpu.http.admin_fleet import AdminFleet
from ngpu.http.admin_live import AdminLive, state_of
from ngpu.http.admin_reload import AdminReload
from ngpu.http.admin_series import AdminSeries
from ngpu.http.admin_tasks import AdminTasks
from ngpu.http.admin_workspaces import AdminWorkspaces
from ngpu.http.listener import ListenerSite
from ngpu.http.operators import operators_resource
from ngpu.http.public import OURS, public_resource
from ngpu.http.raw import Raw
from ngpu.http.server import Limits
from ngpu.interfaces import ISelectionPolicy, PluginContext
from ngpu.journal import Journal, this_process
from ngpu.lookup import make_resolver
from ngpu.media import Media
from ngpu.metrics import Metrics
from ngpu.parts import Parts
from ngpu.processes.reloads import Reloads
from ngpu.processes.worker import Worker
from ngpu.pulse import Pulse
from ngpu.raw.calls import RawCalls
from ngpu.roster import Roster
from ngpu.series import Series
from ngpu.settings import CheckBlock, Loaded, Workspace, lone_workspace
from ngpu.storing import IStore
from ngpu.tasks.conversations import Conversations
from ngpu.tasks.dispatcher import Dispatcher
from ngpu.tasks.elsewhere import Elsewhere
from ngpu.tasks.runs import Runs
from ngpu.upstream.pool import Pool as Connections
from ngpu.vetted import vetted
from ngpu.webhooks.delivery import Webhooks
from ngpu.wiring import adapters_of, gates_of, tracing_of, watch_changes
from ngpu.workspaces import COLLECTION, Workspaces


def assemble(
    loaded: Loaded,
    plugins: Plugins,
    reactor: Any,
    token: str,
    access_log: IO[str],
    reloads: Reloads,
    worker: Worker | None,
    certificates: Certificates,
) -> Parts:
    """Make everything, start nothing.

    :param token: of the admin listener.
    :param access_log: where its lines go.
    :param reloads: what became of them, and how one is asked for.
    :param worker: this process as one of several.
    :param certificates: of the listeners.
    :raises ConfigError: a plugin is unknown or refuses its options.
    """
    settings = loaded.settings
    fetcher = make_fetcher(reactor)
    context = PluginContext(reactor, Random(), str(settings.folder), fetcher)
    store: IStore = plugins.make("store", settings.store.kind, settings.store.options, context)
    roster = Roster(nodes_by_key(settings.nodes), reactor, store.slots, store.news)
    process = 0 if worker is None else worker.number
    metrics = Metrics(roster.labels, process)
    metrics.tracing = tracing_of(loaded, reactor)
    metrics.add_source(lambda: metrics.show_certificates(certificates.standings()))
    for workspace in settings.workspaces:
        roster.put(workspace, _policy(plugins, context, workspace))
    connections = Connections(reactor)
    forwarder = make_forwarder(reactor, connections)
    media = Media(settings.media.folder, settings.media.url, settings.media.ttl, reactor)
    caller = Caller(forwarder, reactor, metrics)
    adapters = adapters_of(settings, plugins, context)
    urls = Egress(settings.egress.allow, make_resolver(reactor))
    conversations = Conversations(
        adapters,
        store=store,
        caller=caller,
        lines=roster.lines,
        workspaces=roster.workspaces,
        clock=reactor,
        urls=urls,
        publish=media.publish,
        news=store.news,
    )
    runs = Runs(store, caller, reactor, metrics, conversations, store.news)
    Elsewhere(store, runs)
    dispatcher = Dispatcher(store, runs, roster.lines, roster.workspaces, reactor, store.slots is not None)
    health = HealthChecks(forwarder, roster.lines, roster.workspaces, reactor, metrics, store.news)
    archives = Archives(reactor, Random(), str(settings.folder))
    serving = Serving(roster.lines, roster.leaving, health, connections.doubts)
    fleet = _fleet(loaded, plugins, context, store, serving, archives, urls, metrics)
    gates = gates_of(settings, plugins, context, metrics)
    spool = Spool(settings.spool)
    direct = DirectCalls(store, runs, reactor, metrics, spool)
    gateway = Gateway(
        store=store,
        runs=runs,
        direct=direct,
        dispatcher=dispatcher,
        lines=roster.lines,
        gates=gates,
        zone=settings.zone,
        clock=reactor,
        metrics=metrics,
        fleet=fleet,
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
    receivers = make_fetcher(reactor, connect=vetted(reactor, urls, "webhook", secure=True))
    webhooks = Webhooks(store, receivers, roster.workspaces, reactor, Random(), metrics)
    watch_changes(roster, health, dispatcher, metrics)
    roster.watch(fleet.follow)
    limits = Limits(http2=settings.http2, **{name: value for name, value in settings.limits if name not in OURS})
    workspaces = _workspaces(loaded, plugins, context, store, roster, urls, dispatcher)
    fleet.spare(workspaces.broken)
    fleet.learn_with(workspaces.look)
    following = Following(store.news, (COLLECTION,), workspaces.follow, reactor)
    desk = make_desk(settings, store, Deployed(workspaces, fleet), urls, reactor)
    allowances = Allowances(store, settings.zone, reactor)
    calls = RawCalls(direct, runs, forwarder, roster.lines, gates, settings.zone, reactor, metrics)
    public = public_resource(
        settings,
        gateway=gateway,
        backlog=backlog,
        runs=runs,
        roster=roster,
        adapters=adapters,
        urls=urls,
        media=media,
        desk=desk,
        raw=Raw(calls, roster.hosts, roster.tenancy, allowances),
        allowances=allowances,
        metrics=metrics,
        reactor=reactor,
    )
    journal = Journal(this_process(), reactor, store.news, counted=metrics.count_event)
    series = Series(metrics, roster.lines, store, reactor)
    of_workspaces, of_fleet = (
        AdminWorkspaces(workspaces, roster.lines, store.queued, fleet),
        AdminFleet(fleet, workspaces),
    )
    telling = Telling(roster.labels, nodes_by_key(settings.nodes))
    live = AdminLive(state_of(of_fleet, of_workspaces), journal, telling, reactor)
    routes = [
        *of_workspaces.routes,
        *of_fleet.routes,
        *AdminEvents(journal, telling).routes,
        *live.routes,
        *AdminSeries(series.own if worker is None else worker.share_series(series), workspaces, reactor).routes,
        *AdminAudit(Auditor(store, roster.lines, reactor)).routes,
        *AdminReload(reloads).routes,
        *AdminTasks(gateway, backlog, roster.workspaces, reactor).routes,
    ]
    figures: Exposing = Figures(metrics, roster.lines, store, reactor)
    if worker is not None:
        figures = worker.share(figures, journal)
    open_metrics = settings.admin.open_metrics
    admin = operators_resource(gateway, figures, routes, token, store.documents, reactor, open_metrics=open_metrics)
    logs = (
        AccessLog("public", access_log, metrics, cloud.path_without_ids, process),
        AccessLog("admin", access_log, metrics, path_without_ids, process),
    )
    sites = ListenerSite(public, reactor, limits, logs[0]), ListenerSite(admin, reactor, limits, logs[1])
    pulse = Pulse(metrics, store, roster.lines, {"public": sites[0], "admin": sites[1]}, limits.connections, reactor)
    return Parts(
        store,
        spool,
        connections,
        fetcher,
        receivers,
        dispatcher,
        webhooks,
        health,
        roster,
        workspaces,
        following,
        desk,
        archives,
        fleet,
        journal,
        live,
        series,
        pulse,
        metrics.tracing,
        *sites,
    )


def _fleet(
    loaded: Loaded,
    plugins: Plugins,
    context: PluginContext,
    store: IStore,
    serving: Serving,
    archives: Archives,
    urls: Egress,
    metrics: Metrics,
) -> Fleet:
    try:
        return make_fleet(
            loaded.settings,
            make=lambda family, name, options: plugins.make(family, name, options, context),
            store=store,
            serving=serving,
            archives=archives,
            customers=vetted(context.clock, urls, "the URL of the image's archive", secure=False),
            clock=context.clock,
            rng=context.rng,
            metrics=metrics,
        )
    except ConfigError as error:
        raise loaded.located(error.path, str(error)) from None


def _workspaces(
    loaded: Loaded,
    plugins: Plugins,
    context: PluginContext,
    store: IStore,
    roster: Roster,
    urls: Egress,
    dispatcher: Dispatcher,
) -> Workspaces:
    def find_plugins(folders: Sequence[Path]) -> CheckBlock:
        return lambda family, name, options: plugins.make(family, name, options, context)

    return Workspaces(
        documents=store.documents,
        roster=roster,
        fixed=loaded.given("workspaces") or (),
        read=lambda values: lone_workspace(values, loaded.settings, find_plugins),
        make_policy=lambda workspace: _policy(plugins, context, workspace),
        urls=urls,
        mounts=loaded.settings.fleet.mounts,
        clear=dispatcher.clear,
        exclusively=store.exclusively,
    )


def _policy(plugins: Plugins, context: PluginContext, workspace: Workspace) -> ISelectionPolicy:
    policy: ISelectionPolicy = plugins.make(
        "selection", workspace.selection.policy, workspace.selection.options, context
    )
    return policy
