"""What answers over a network: the store, and the engines of nodes; on a reactor, as in the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import implementer

from ngpu.cli.table import bytes_in_words
from ngpu.containers import EngineInfo
from ngpu.discovery import Plugins
from ngpu.errors import ConfigError, EngineError
from ngpu.examining import Finding, IExaminable, Level
from ngpu.fetch import make_fetcher
from ngpu.fleet.ground import ground_of
from ngpu.fleet.replicas import nodes_by_key
from ngpu.fleet.station import Post
from ngpu.interfaces import PluginContext
from ngpu.settings import Settings

WITHIN = 20.0
"""Seconds that one of them may take."""

RUNTIME = "nvidia"


def ask(settings: Settings, plugins: Plugins) -> list[Finding]:
    """All findings; the configuration was found to be usable. Runs the reactor, so only once in a process."""
    from twisted.internet import reactor as running

    reactor: Any = running
    found: list[Finding] = []
    globalLogBeginner.beginLoggingTo([_unheard], redirectStandardIO=False)

    async def work() -> None:
        context = PluginContext(reactor, Random(), str(settings.folder), make_fetcher(reactor))
        jobs: list[Awaitable[Sequence[Finding]]] = [_store(settings, plugins, context)]
        ground = ground_of(
            settings,
            nodes_by_key(settings.nodes),
            lambda family, name, options: plugins.make(family, name, options, context),
        )
        drivers = {node.address: node.engine_options.get("gpu_driver", RUNTIME) for node in settings.nodes}
        jobs += [_engine(post, drivers) for post in ground.posts]
        waiting = [Deferred.fromCoroutine(_patient(job)).addTimeout(WITHIN, reactor) for job in jobs]
        for each in await gatherResults(waiting, consumeErrors=True):
            found.extend(each)

    def start() -> None:
        done = Deferred.fromCoroutine(work())
        done.addErrback(failures.append)
        done.addBoth(lambda _: reactor.stop())

    failures: list[Any] = []
    reactor.callWhenRunning(start)
    reactor.run()
    if failures:
        failures[0].raiseException()
    return found


@implementer(ILogObserver)
def _unheard(event: LogEvent) -> None:
    """What parts of the gateway would log stands in the findings."""


async def _patient(job: Awaitable[Sequence[Finding]]) -> Sequence[Finding]:
    return await job


async def _store(settings: Settings, plugins: Plugins, context: PluginContext) -> Sequence[Finding]:
    kind = settings.store.kind
    store = plugins.make("store", kind, settings.store.options, context)
    if not IExaminable.providedBy(store):
        return [Finding(Level.OK, "store", f"{kind} says nothing of what it stands on")]
    return list(await store.examine())


async def _engine(post: Post, drivers: Mapping[str, Any]) -> Sequence[Finding]:
    about = f"engine of {post.node.address}"
    try:
        info: EngineInfo = await post.engine.info()
    except (EngineError, ConfigError) as error:
        return [Finding(Level.PROBLEM, about, str(error), "deploying there waits until it answers")]
    return list(judged(about, info, post, str(drivers.get(post.node.address, RUNTIME))))


def judged(about: str, info: EngineInfo, post: Post, driver: str) -> Iterator[Finding]:
    """What an engine says, beside what the configuration says of its node.

    :param driver: that is asked for GPUs.
    """
    machines = f" on {info.machines} machines" if info.machines > 1 else ""
    yield Finding(
        Level.OK, about, f"{post.plugin} {info.version} answers{machines}, {bytes_in_words(info.memory)} of memory"
    )
    if info.memory and post.memory > info.memory:
        words = f"nodes[].memory says {bytes_in_words(post.memory)}, and its engine {bytes_in_words(info.memory)}"
        yield Finding(Level.WARNING, about, words, "correct the node's memory, or leave it out")
    wanted = len(post.gpu_ids)
    if not wanted:
        return
    if info.gpus is not None:
        enough = info.gpus >= wanted
        words = f"it has {info.gpus} GPUs, and the configuration says {wanted}"
        advice = "" if enough else "correct gpus.count, or the engine's list of its GPUs"
        yield Finding(Level.OK if enough else Level.PROBLEM, f"GPUs of {post.node.address}", words, advice)
    elif info.runtimes is not None and driver == RUNTIME:
        there = RUNTIME in info.runtimes
        words = f"its engine has {'the' if there else 'no'} runtime {RUNTIME}, for {wanted} GPUs"
        advice = (
            ""
            if there
            else "install the NVIDIA Container Toolkit there, then  nvidia-ctk runtime configure --runtime=docker  "
            "and restart Docker"
        )
        yield Finding(Level.OK if there else Level.WARNING, f"GPUs of {post.node.address}", words, advice)
