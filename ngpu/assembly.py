"""From settings to working parts: wiring, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import IO, Any

from twisted.internet.threads import deferToThreadPool
from twisted.web.resource import IResource

from ngpu.adapter import IAppAdapter
from ngpu.addresses import is_address
from ngpu.archives.opening import Archive, Archives
from ngpu.calls import Caller
from ngpu.cloud.deployed import Deployed
from ngpu.cloud.desk import Desk, make_desk
from ngpu.discovery import Plugins
from ngpu.egress import Egress, system_resolver
from ngpu.errors import ConfigError
from ngpu.fetch import Fetcher, make_fetcher
from ngpu.figures import Figures
from ngpu.fleet.fleet import Fleet
from ngpu.fleet.ground import ground_of, logins
from ngpu.fleet.health import HealthChecks
from ngpu.fleet.replicas import nodes_by_key
from ngpu.fleet.serving import Serving
from ngpu.fleet.state import FleetState
from ngpu.fleet.wanted import Source
from ngpu.forward import make_forwarder
from ngpu.gates import Gate
from ngpu.gateway import Gateway
from ngpu.http import cloud
from ngpu.http.access_log import AccessLog, annotate
from ngpu.http.admin import admin_resource, path_without_ids
from ngpu.http.admin_fleet import AdminFleet
from ngpu.http.admin_workspaces import AdminWorkspaces
from ngpu.http.budget import BodyBudget
from ngpu.http.call import Call
from ngpu.http.listener import ListenerSite
from ngpu.http.partner import partner_resource
from ngpu.http.raw import Raw
from ngpu.http.reading import Reading
from ngpu.http.server import Limits, NgpuRequest
from ngpu.http.submitting import Submitting
from ngpu.interfaces import IDocuments, ISelectionPolicy, PluginContext
from ngpu.media import Media
from ngpu.metrics import Metrics
from ngpu.model import CHUNK
from ngpu.placing import IPlacementPolicy
from ngpu.raw.calls import RawCalls
from ngpu.roster import Roster
from ngpu.settings import (
    AppRoute,
    CheckBlock,
    Loaded,
    PlacementSettings,
    Settings,
    Workspace,
    lone_workspace,
)
from ngpu.storing import IStore
from ngpu.tasks.conversations import Conversations
from ngpu.tasks.dispatcher import Dispatcher
from ngpu.tasks.runs import Runs
from ngpu.upstream.pool import Pool as Connections
from ngpu.wire.envelope import Envelope, parse_envelope, parse_flat
from ngpu.workspaces import Workspaces


@dataclass(frozen=True)
class Parts:
    """What has to be started and stopped, and what the listeners serve."""

    store: IStore
    connections: Connections
    fetcher: Fetcher
    dispatcher: Dispatcher
    health: HealthChecks
    roster: Roster
    workspaces: Workspaces
    desk: Desk | None
    archives: Archives
    fleet: Fleet
    public: ListenerSite
    admin: ListenerSite


def assemble(loaded: Loaded, plugins: Plugins, reactor: Any, token: str, access_log: IO[str]) -> Parts:
    """Make everything, start nothing.

    :param token: of the admin listener.
    :param access_log: where its lines go.
    :raises ConfigError: a plugin is unknown or refuses its options.
    """
    settings = loaded.settings
    roster = Roster(nodes_by_key(settings.nodes), reactor)
    metrics = Metrics(roster.labels)
    fetcher = make_fetcher(reactor)
    context = PluginContext(reactor, Random(), str(settings.folder), fetcher)
    for workspace in settings.workspaces:
        roster.put(workspace, _policy(plugins, context, workspace))
    store: IStore = plugins.make("store", settings.store.kind, settings.store.options, context)
    connections = Connections(reactor)
    forwarder = make_forwarder(reactor, connections)
    media = Media(settings.media.folder, settings.media.url, settings.media.ttl, reactor)
    caller = Caller(forwarder, reactor, metrics)
    adapters = _adapters(settings, plugins, context)
    urls = Egress(settings.egress.allow, system_resolver(reactor))
    conversations = Conversations(
        adapters,
        store=store,
        caller=caller,
        lines=roster.lines,
        workspaces=roster.workspaces,
        clock=reactor,
        urls=urls,
        publish=media.publish,
    )
    runs = Runs(store, caller, reactor, metrics, conversations)
    dispatcher = Dispatcher(store, runs, roster.lines, roster.workspaces, reactor)
    health = HealthChecks(forwarder, roster.lines, roster.workspaces, reactor, metrics)
    archives = Archives(reactor, Random(), str(settings.folder))
    serving = Serving(roster.lines, roster.leaving, health)
    fleet = _fleet(loaded, plugins, context, store.documents, serving, archives, urls, metrics)
    gates = _gates(settings, plugins, context)
    gateway = Gateway(
        store=store,
        runs=runs,
        dispatcher=dispatcher,
        lines=roster.lines,
        gates=gates,
        zone=settings.zone,
        clock=reactor,
        metrics=metrics,
        fleet=fleet,
    )
    watch_changes(roster, health, dispatcher, metrics)
    for workspace in settings.workspaces:
        fleet.follow(None, workspace)
    roster.watch(fleet.follow)
    limits = Limits(**{name: value for name, value in settings.limits if name != "body_memory"})
    workspaces = _workspaces(loaded, plugins, context, store.documents, roster, urls, dispatcher)
    desk = make_desk(settings, store.documents, Deployed(workspaces, fleet), urls, reactor)
    calls = RawCalls(store, runs, forwarder, roster.lines, gates, settings.zone, reactor, metrics)
    raw = Raw(calls, roster.hosts, roster.tenancy)
    public = _public(settings, gateway, roster, adapters, media, desk, raw, reactor)
    routes = [
        *AdminWorkspaces(workspaces, roster.lines, store.queued, fleet).routes,
        *AdminFleet(fleet, workspaces).routes,
    ]
    admin = admin_resource(gateway, Figures(metrics, roster.lines, store), token, settings.admin.open_metrics, routes)
    return Parts(
        store,
        connections,
        fetcher,
        dispatcher,
        health,
        roster,
        workspaces,
        desk,
        archives,
        fleet,
        ListenerSite(public, reactor, limits, AccessLog("public", access_log, metrics, cloud.path_without_ids)),
        ListenerSite(admin, reactor, limits, AccessLog("admin", access_log, metrics, path_without_ids)),
    )


def _fleet(
    loaded: Loaded,
    plugins: Plugins,
    context: PluginContext,
    documents: IDocuments,
    serving: Serving,
    archives: Archives,
    urls: Egress,
    metrics: Metrics,
) -> Fleet:
    settings = loaded.settings

    def make_policy(placement: PlacementSettings) -> IPlacementPolicy:
        policy: IPlacementPolicy = plugins.make("placement", placement.policy, placement.options, context)
        return policy

    async def open_archive(source: Source) -> Archive:
        if source.foreign:
            return await archives.open(source.location, lambda url: urls.check(url, "the URL of the image's archive"))
        return await archives.open(source.location)

    try:
        ground = ground_of(
            settings,
            nodes_by_key(settings.nodes),
            lambda family, name, options: plugins.make(family, name, options, context),
        )
    except ConfigError as error:
        raise loaded.located(error.path, str(error)) from None
    return Fleet(
        ground,
        state=FleetState(documents),
        serving=serving,
        open_archive=open_archive,
        login=logins(settings.registries),
        make_policy=make_policy,
        fixed=frozenset(workspace.id for workspace in settings.workspaces),
        clock=context.clock,
        rng=context.rng,
        metrics=metrics,
    )


def _workspaces(
    loaded: Loaded,
    plugins: Plugins,
    context: PluginContext,
    documents: IDocuments,
    roster: Roster,
    urls: Egress,
    dispatcher: Dispatcher,
) -> Workspaces:
    def find_plugins(folders: Sequence[Path]) -> CheckBlock:
        return lambda family, name, options: plugins.make(family, name, options, context)

    return Workspaces(
        documents=documents,
        roster=roster,
        fixed=loaded.given("workspaces") or (),
        read=lambda values: lone_workspace(values, loaded.settings, find_plugins),
        make_policy=lambda workspace: _policy(plugins, context, workspace),
        urls=urls,
        mounts=loaded.settings.fleet.mounts,
        clear=dispatcher.clear,
    )


def watch_changes(roster: Roster, health: HealthChecks, dispatcher: Dispatcher, metrics: Metrics) -> None:
    """Let everybody who keeps something of a workspace follow its changes."""

    def changed(before: Workspace | None, after: Workspace | None) -> None:
        for workspace_id in {each.id for each in (before, after) if each is not None}:
            health.follow(workspace_id)
        dispatcher.follow(before, after)
        if before is not None and (after is None or after.label != before.label):
            metrics.forget_workspace(before.label)

    roster.watch(changed)


def _policy(plugins: Plugins, context: PluginContext, workspace: Workspace) -> ISelectionPolicy:
    policy: ISelectionPolicy = plugins.make(
        "selection", workspace.selection.policy, workspace.selection.options, context
    )
    return policy


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


def _public(
    settings: Settings,
    gateway: Gateway,
    roster: Roster,
    adapters: Mapping[str, IAppAdapter],
    media: Media,
    desk: Desk | None,
    raw: Raw,
    reactor: Any,
) -> IResource:

    async def parse(body: bytes, flat: bool) -> Envelope:
        read = parse_flat if flat else parse_envelope
        if len(body) <= CHUNK:
            return read(body)
        return await deferToThreadPool(reactor, reactor.getThreadPool(), read, body)

    def make_call(request: NgpuRequest) -> Call:
        call = Call(request, roster.tenancy, settings.trusted_proxies)
        annotate(request, client=call.client_ip)
        return call

    reading = Reading(gateway, roster.workspaces, media)
    budget = BodyBudget(settings.limits.body_memory, reactor)
    submitting = Submitting(gateway, reading, roster.workspaces, settings.apps, adapters, parse, budget)
    calls = None if desk is None else cloud.CloudCalls(desk.accounts, desk.counter)
    return partner_resource(reading, submitting, make_call, calls, raw)
