"""A fleet out of settings and of what it works with."""

from __future__ import annotations

from random import Random

from twisted.internet.interfaces import IReactorTime

from ngpu.archives.opening import Archive, Archives
from ngpu.fetch import Connect
from ngpu.fleet.fleet import Fleet
from ngpu.fleet.ground import Make, ground_of, logins
from ngpu.fleet.replicas import nodes_by_key
from ngpu.fleet.serving import IServing
from ngpu.fleet.state import FleetState
from ngpu.fleet.wanted import Source
from ngpu.metrics import Metrics
from ngpu.placing import IPlacementPolicy
from ngpu.settings import PlacementSettings, Settings
from ngpu.storing import IStore


def make_fleet(
    settings: Settings,
    *,
    make: Make,
    store: IStore,
    serving: IServing,
    archives: Archives,
    customers: Connect,
    clock: IReactorTime,
    rng: Random,
    metrics: Metrics,
) -> Fleet:
    """Make it; the workspaces of the file are deployed, others as `Fleet.follow` hears of them.

    :param customers: the way to the hosts of archives that were given at run time; see `ngpu.vetted`.
    :raises ConfigError: an engine's plugin is unknown or refuses its options; the path begins with ``nodes``.
    """

    def make_policy(placement: PlacementSettings) -> IPlacementPolicy:
        policy: IPlacementPolicy = make("placement", placement.policy, placement.options)
        return policy

    async def open_archive(source: Source) -> Archive:
        if source.foreign:
            return await archives.open(source.location, customers)
        return await archives.open(source.location)

    fleet = Fleet(
        ground_of(settings, nodes_by_key(settings.nodes), make),
        state=FleetState(store.documents, store.led_documents),
        serving=serving,
        open_archive=open_archive,
        login=logins(settings.registries),
        make_policy=make_policy,
        fixed=frozenset(workspace.id for workspace in settings.workspaces),
        clock=clock,
        rng=rng,
        metrics=metrics,
        leadership=store.leadership,
        news=store.news,
    )
    for workspace in settings.workspaces:
        fleet.follow(None, workspace)
    return fleet
