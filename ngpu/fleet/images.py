"""Images on their way to nodes: pinned once, brought as often as they are missing, one job for a node and an image."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.archives.opening import Archive
from ngpu.containers import IContainerEngine, RegistryLogin
from ngpu.errors import EngineRefused, EngineUnreachable, NgpuError
from ngpu.families import described
from ngpu.fleet.steps import Fetch, check_may
from ngpu.fleet.wanted import Source, registry_of

FIRST_REST, LONGEST_REST = 2.0, 300.0
"""Seconds until a failed job is tried again; they double from the first to the longest."""

LOADS = 8
"""How many archives pass through the gateway at once."""

ASKED = 3
"""How many engines are asked for a reference's digest before that has failed."""

Key = tuple[str, str, str]
Login = Callable[[str], RegistryLogin | None]
Pinned = Callable[[Source, str], Awaitable[None]]


class OpenArchive(Protocol):
    """Opens archives."""

    async def __call__(self, source: Source) -> Archive:
        """Begin to read one.

        :raises NgpuError: it cannot be had.
        """


@dataclass
class Job:
    """One image on its way to one node: how much of it is there (0 to 1), or why it rests and until when."""

    progress: float = 0.0
    under_way: Deferred[None] | None = None
    tries: int = 0
    rests_until: float = 0.0
    reason: str = ""


class Images:
    """Brings images.

    :param engines: by their node's key.
    :param login: of a registry's host.
    :param pinned: told what a source turned out to be; raises NgpuError where that is not what it is pinned to.
    :param nudge: called when something has changed.
    """

    log = Logger("ngpu.fleet")

    def __init__(
        self,
        engines: Mapping[str, IContainerEngine],
        open_archive: OpenArchive,
        login: Login,
        pinned: Pinned,
        clock: IReactorTime,
        nudge: Callable[[], None],
    ) -> None:
        self._engines = engines
        self._open_archive = open_archive
        self._login = login
        self._pinned = pinned
        self._clock = clock
        self._nudge = nudge
        self._jobs: dict[Key, Job] = {}
        self._have: dict[str, dict[str, str]] = {key: {} for key in engines}
        self._loads = DeferredSemaphore(LOADS)

    def on(self, node: str) -> Mapping[str, str]:
        """The images that a node is known to have: pin → what its engine calls it."""
        return self._have[node]

    def job(self, node: str, source: Source, image: str) -> Job | None:
        """How it stands with an image on a node; ``None`` where nobody has asked for it.

        An archive that was not known when its load began may turn out to be the image.
        """
        return self._jobs.get((node, source.key, image)) or self._jobs.get((node, source.key, ""))

    def resolving(self, source: Source) -> Job | None:
        """How it stands with a reference's digest."""
        return self._jobs.get(("", source.key, ""))

    def jobs_of(self, sources: Collection[str]) -> Mapping[Key, tuple[float, str]]:
        """How it stands with all images of some sources: (node, source, image) → its share (0 to 1), why it rests."""
        return {key: (job.progress, job.reason) for key, job in self._jobs.items() if key[1] in sources}

    def fetch(self, wanted: Fetch, may: Callable[[], bool] = lambda: True) -> None:
        """Bring an image to a node, unless it is on its way or rests after a failure.

        :param may: asked once more before the engine is.
        """
        first = self._jobs.get((wanted.node, wanted.source.key, ""))
        if first is not None and first.under_way is not None:
            return
        self._begin((wanted.node, wanted.source.key, wanted.image), lambda job: self._bring(wanted, job, may))

    def resolve(self, source: Source, nodes: Sequence[str]) -> None:
        """Ask for a reference's digest.

        :param nodes: whose engines may be asked, in this order.
        """
        if nodes:
            self._begin(("", source.key, ""), lambda job: self._resolve(source, nodes))

    async def digest_of(self, source: Source, nodes: Sequence[str]) -> str:
        """A reference with its digest, as its registry has it now.

        :raises EngineError: nobody can tell.
        """
        failed: Exception = EngineUnreachable("no engine answers that could ask the image's registry")
        for key in nodes[:ASKED]:
            try:
                login = self._login(registry_of(source.location))
                return str(await self._engines[key].resolve(source.location, login))
            except NgpuError as error:
                failed = error
        raise failed

    def doubt(self, node: str, image: str) -> None:
        """An engine would not use an image that it was known to have: look again before it is asked for it."""
        known = self._have[node]
        for pin in [pin for pin, name in known.items() if name == image]:
            del known[pin]

    def retry(self) -> None:
        """Let nothing rest any longer."""
        for job in self._jobs.values():
            job.rests_until, job.tries = 0.0, 0

    def keep(self, sources: Collection[str]) -> None:
        """Give up what is on its way of other sources than these, and forget that it failed: nobody waits for it.

        Else it would go on for hours, and whoever wants it again would wait for as long as it rests.
        """
        for key, job in tuple(self._jobs.items()):
            if key[1] not in sources:
                del self._jobs[key]
                if job.under_way is not None:
                    job.under_way.cancel()

    def stop(self) -> None:
        """Give up what is on its way, and forget what failed."""
        for job in tuple(self._jobs.values()):
            if job.under_way is not None:
                job.under_way.cancel()
        self._jobs.clear()

    def _begin(self, key: Key, work: Callable[[Job], Any]) -> None:
        job = self._jobs.setdefault(key, Job())
        if job.under_way is not None or self._clock.seconds() < job.rests_until:
            return
        job.under_way = Deferred()  # so that nothing begins it twice while it takes its first steps
        under_way = Deferred.fromCoroutine(work(job))
        if not under_way.called:
            job.under_way = under_way
        under_way.addBoth(self._over, key, job)

    def _over(self, result: object, key: Key, job: Job) -> None:
        job.under_way = None
        if not isinstance(result, Failure):
            job.reason, job.tries = "", 0
            if self._jobs.get(key) is job:
                del self._jobs[key]
        elif result.check(CancelledError):
            return
        else:
            self._failed(result, key[0], job)
        self._nudge()

    def _failed(self, failure: Failure, node: str, job: Job) -> None:
        known = failure.check(NgpuError) is not None
        error = failure.value
        reason = str(error) if known else f"the engine's plugin failed: {described(error)}"
        if reason != job.reason:
            self.log.warn("an image is not there yet: {reason}", journal="image_failed", node=node, reason=reason)
        job.reason = reason
        job.rests_until = self._clock.seconds() + min(FIRST_REST * 2**job.tries, LONGEST_REST)
        job.tries = min(job.tries + 1, 16)

    async def _bring(self, wanted: Fetch, job: Job, may: Callable[[], bool]) -> None:
        engine = self._engines[wanted.node]

        def progress(share: float) -> None:
            job.progress = max(job.progress, min(max(float(share), 0.0), 1.0))

        image = await engine.image(wanted.image) if wanted.image else None
        if image is None and wanted.source.archive:
            image = await self._load(wanted, engine, progress, may)
        elif image is None:
            check_may(may)
            image = await engine.pull(wanted.image, self._login(registry_of(wanted.source.location)), progress)
        self._have[wanted.node][wanted.image or str(image)] = str(image)

    async def _load(
        self, wanted: Fetch, engine: IContainerEngine, progress: Callable[[float], None], may: Callable[[], bool]
    ) -> str:
        await self._loads.acquire()
        try:
            archive = await self._open_archive(wanted.source)
            try:
                check_may(may)
                image = str(await engine.load(archive.pieces(), archive.size, progress))
            finally:
                await archive.close()
        finally:
            self._loads.release()
        if not wanted.image:
            await self._pinned(wanted.source, image)
        elif image != wanted.image:
            raise EngineRefused(
                "the archive holds another image by now than the one that the other copies run: "
                "deploy the workspace again, fresh, to take the new one everywhere"
            )
        return image

    async def _resolve(self, source: Source, nodes: Sequence[str]) -> None:
        await self._pinned(source, await self.digest_of(source, nodes))
