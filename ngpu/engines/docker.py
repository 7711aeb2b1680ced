"""The port of container engines over one Docker daemon."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound
from docker.utils import parse_repository_tag
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.task import deferLater
from zope.interface import implementer

from ngpu.containers import FLEET, Container, ContainerSpec, EngineInfo, IContainerEngine, Progress, RegistryLogin
from ngpu.engines.archive import check_beginning, only_image
from ngpu.engines.client import Client, credentials
from ngpu.engines.daemon import CALLS, Daemon
from ngpu.engines.describing import container_of, damaged
from ngpu.engines.making import Manner, container_config
from ngpu.engines.progress import Layers, Loaded
from ngpu.engines.reading import Unframed, listed, mapping, text, whole
from ngpu.engines.sentences import refusal
from ngpu.engines.streams import Pieces, SourceEnded
from ngpu.errors import EngineRefused

STEP = 0.002
"""Progress that is less than that is not passed on."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two looks at a container that is to end; they double."""

ENDS = CALLS // 2
"""Containers that are ended for good at once: the other threads go on answering."""


@implementer(IContainerEngine)
class DockerEngine:
    """See `IContainerEngine`. What `ContainerSpec.image` calls an image is its pinned reference, or its id.

    :param manner: of all containers that it makes.
    """

    def __init__(self, daemon: Daemon, manner: Manner) -> None:
        self._daemon = daemon
        self._manner = manner
        self._ends = DeferredSemaphore(ENDS)

    async def info(self) -> EngineInfo:
        """See `IContainerEngine.info`."""
        said = mapping(await self._daemon.ask(lambda client: mapping(client.info())))
        runtimes = frozenset(mapping(said["Runtimes"])) if said.get("Runtimes") else None
        return EngineInfo(str(said.get("ServerVersion", "")), whole(said, "MemTotal", 0), runtimes=runtimes)

    async def containers(self, fleet: str) -> Sequence[Container]:
        """See `IContainerEngine.containers`."""

        def look(client: Client) -> list[Container]:
            found = []
            for said in listed(client.containers(all=True, filters={"label": f"{FLEET}={fleet}"})):
                try:
                    found.append(container_of(client.inspect_container(text(mapping(said), "Id"))))
                except NotFound:
                    continue  # it has gone meanwhile
                except APIError as error:
                    if not _is_damaged(error):
                        raise
                    found.append(damaged(said, str(refusal(error.explanation))))
            return found

        return await self._daemon.ask(look)

    async def resolve(self, reference: str, login: RegistryLogin | None) -> str:
        """See `IContainerEngine.resolve`."""
        if "@sha256:" in reference:
            return reference

        def look(client: Client) -> str:
            said = mapping(client.inspect_distribution(reference, auth_config=credentials(login)))
            return text(mapping(said.get("Descriptor")), "digest")

        digest = await self._daemon.ask(look, reference)
        if not digest.startswith("sha256:"):
            raise EngineRefused(f"the registry of {reference} names the image by a digest that is no sha256")
        return f"{parse_repository_tag(reference)[0]}@{digest}"

    async def image(self, image: str) -> str | None:
        """See `IContainerEngine.image`."""
        return await self._daemon.ask(lambda client: image if _has(client, image) else None, image)

    async def pull(self, pinned: str, login: RegistryLogin | None, progress: Progress) -> str:
        """See `IContainerEngine.pull`."""
        tell = self._teller(progress)

        def pull(client: Client) -> str:
            if not _has(client, pinned):
                name, tag = parse_repository_tag(pinned)
                layers = Layers()
                for message in client.pulling(name, tag or "latest", login):
                    _raise_error(message, pinned)
                    tell(layers.heard(message))
                if not _has(client, pinned):
                    raise EngineRefused(f"the image {pinned} was pulled, and is not there: pull it again")
            return pinned

        pulled = await self._daemon.follow(pull, pinned)
        progress(1.0)
        return pulled

    async def load(self, archive: AsyncIterator[bytes], size: int | None, progress: Progress) -> str:
        """See `IContainerEngine.load`."""
        tell = self._teller(progress)
        pieces = Pieces(self._daemon.reactor, archive)

        def load(client: Client) -> str:
            loaded = Loaded(size)

            def handing() -> Iterator[bytes]:
                for piece in check_beginning(iter(pieces)):
                    yield piece
                    tell(loaded.handed(pieces.taken))
                tell(loaded.handed(pieces.taken, ended=True))

            for message in client.loading(handing()):
                _raise_error(message, "the archive", "the archive is no docker image tar, or it is cut")
                tell(loaded.heard(message))
            return only_image({text(mapping(client.inspect_image(name)), "Id") for name in loaded.names})

        try:
            image = await self._daemon.follow(load, "of the archive")
        except SourceEnded:
            assert pieces.failure is not None
            pieces.failure.raiseException()
        finally:
            pieces.give_up()
        progress(1.0)
        return image

    async def create(self, spec: ContainerSpec) -> None:
        """See `IContainerEngine.create`."""
        config = container_config(spec, self._manner)

        def make(client: Client) -> None:
            try:
                client.create_container_from_config(config, spec.name)
            except ImageNotFound:
                raise refusal("No such image", spec.image) from None
            except APIError as error:
                if error.status_code != 409:
                    raise
                if _fleet_of(client, spec.name) != spec.labels.get(FLEET):
                    taken = (
                        f"the name {spec.name} is taken by a container that is not of this fleet: remove or rename it"
                    )
                    raise EngineRefused(taken) from None

        await self._daemon.ask(make, spec.name)

    async def start(self, name: str) -> None:
        """See `IContainerEngine.start`."""
        await self._daemon.ask(lambda client: _on_ours(client, name, client.start), name)

    async def restart(self, name: str, grace: float) -> None:
        """See `IContainerEngine.restart`."""
        if not await self._end(name, grace):
            raise refusal("No such container", name)
        await self._ends.run(self._finish, lambda client: client.restart(name, timeout=0), name)

    async def remove(self, name: str, grace: float) -> None:
        """See `IContainerEngine.remove`."""
        if await self._end(name, grace):
            await self._ends.run(self._finish, lambda client: _remove(client, name), name)

    async def _end(self, name: str, grace: float) -> bool:
        """Let a container end by itself, for ``grace`` seconds: whether it is there. No thread waits meanwhile."""
        clock = self._daemon.reactor
        until, pause = clock.seconds() + grace, FIRST_PAUSE
        goes_on = await self._daemon.ask(lambda client: _tell_to_end(client, name), name)
        while goes_on and (left := until - clock.seconds()) > 0:
            await deferLater(clock, min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE)
            goes_on = await self._daemon.ask(lambda client: _goes_on(client, name), name)
        return goes_on is not None

    def _finish(self, last: Callable[[Client], Any], name: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self._daemon.ask(last, name))

    def logs(self, name: str, tail: int, follow: bool) -> AsyncIterator[bytes]:
        """See `IContainerEngine.logs`."""

        def printed(client: Client) -> Iterator[bytes]:
            response = _on_ours(client, name, lambda found: client.printing(found, tail, follow))
            unframed = Unframed()
            return filter(None, (unframed.feed(piece) for piece in client.pieces(response)))

        return self._daemon.feed(printed, name, quiet=follow)

    async def close(self) -> None:
        """See `IContainerEngine.close`."""
        await self._daemon.close()

    def _teller(self, progress: Progress) -> Callable[[float], None]:
        """For the thread: passes on what is more than was told before."""
        told = [0.0]

        def tell(share: float) -> None:
            if share >= told[0] + STEP:
                told[0] = share
                self._daemon.reactor.callFromThread(progress, share)

        return tell


def _has(client: Client, image: str) -> bool:
    try:
        return bool(text(mapping(client.inspect_image(image)), "Id"))
    except NotFound:
        return False


def _fleet_of(client: Client, name: str) -> str | None:
    try:
        said = mapping(mapping(client.inspect_container(name)).get("Config"))
    except APIError as error:
        if not _is_damaged(error):
            raise
        found = listed(client.containers(all=True, filters={"name": f"^/{re.escape(name)}$"}))
        said = mapping(found[0]) if found else {}
    fleet = mapping(said.get("Labels") or {}).get(FLEET)
    return fleet if isinstance(fleet, str) else None


def _is_damaged(error: APIError) -> bool:
    """Whether an engine fails to describe a container, as one whose files are lost: it alone is ill."""
    return bool(error.status_code == 500)


def _on_ours(client: Client, name: str, act: Callable[[str], Any]) -> Any:
    """Do something to a container, if it has the label of ours: nobody else's is touched for its name."""
    if _fleet_of(client, name) is None:
        raise EngineRefused(f"the container {name} is not of any fleet: remove or rename it")
    return act(name)


def _tell_to_end(client: Client, name: str) -> bool | None:
    """Send a container the signal that its image wants to be stopped with; see `_goes_on`.

    One that its engine cannot describe is given no time: nobody could tell when it has ended.
    """
    try:
        _on_ours(client, name, str)
        try:
            said = client.inspect_container(name)
        except APIError as error:
            if not _is_damaged(error):
                raise
            return False
        if _is_alive(said):
            client.kill(name, text(mapping(said["Config"]), "StopSignal", "") or "SIGTERM")
    except APIError as error:
        if not isinstance(error, NotFound) and error.status_code != 409:  # it ended meanwhile
            raise
    return _goes_on(client, name)


def _goes_on(client: Client, name: str) -> bool | None:
    """Whether a container has not ended yet; ``None`` where there is none."""
    try:
        return _is_alive(client.inspect_container(name))
    except NotFound:
        return None


def _is_alive(said: Any) -> bool:
    state = mapping(mapping(said).get("State"))
    return state.get("Running") is True or state.get("Restarting") is True


def _remove(client: Client, name: str) -> None:
    while True:
        try:
            client.remove_container(name, v=True, force=True)
            return
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 409 or time.monotonic() > client.until:
                raise
            time.sleep(0.1)  # its removal is under way


def _raise_error(message: Any, about: str, why: str = "") -> None:
    """Errors of a stream come within it, after the status has said that all is well."""
    said = message.get("error")
    if said is not None:
        found = refusal(said, about)
        unknown = why and str(found).startswith("the engine refuses")
        raise EngineRefused(f"{why} ({str(found).partition(': ')[2]})") if unknown else found
