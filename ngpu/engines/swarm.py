"""The port of container engines over a Docker Swarm: each container is a service of one task."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from docker.errors import APIError, NotFound
from zope.interface import implementer

from ngpu.containers import FLEET, Container, ContainerSpec, EngineInfo, IContainerEngine, Progress, RegistryLogin
from ngpu.engines.client import Client, credentials
from ngpu.engines.daemon import Daemon
from ngpu.engines.docker import DockerEngine
from ngpu.engines.following import until_over
from ngpu.engines.making import Manner
from ngpu.engines.reading import Unframed, listed, mapping, one_line, text, whole
from ngpu.engines.sentences import refusal
from ngpu.engines.swarm_service import NAME, Manners, begun_anew, service_body, service_name, with_tasks
from ngpu.engines.swarm_tasks import containers, gpus_of, is_over, memory_of, printed_last, usable
from ngpu.errors import EngineRefused, EngineUnreachable

T = TypeVar("T")
Change = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@implementer(IContainerEngine)
class SwarmEngine:
    """See `IContainerEngine`. A manager writes down what is wanted, and its machines see to it in their own time.

    So nothing waits for a container here: one that could not be started says so in what ``containers`` tells of it,
    one that is removed may take its grace to end, and its ``ContainerSpec.stop_grace`` is what counts. The machines
    pull images themselves: ``pull`` makes sure that there is such an image, and keeps the login for services.

    :param daemon: a manager.
    """

    def __init__(self, daemon: Daemon, manners: Manners) -> None:
        self._daemon = daemon
        self._manners = manners
        self._manager = DockerEngine(daemon, Manner())
        self._logins: dict[str, RegistryLogin | None] = {}

    async def info(self) -> EngineInfo:
        """See `IContainerEngine.info`. Machines that take no tasks now are left out."""

        def look(client: Client) -> EngineInfo:
            said = mapping(client.info())
            swarm = mapping(said.get("Swarm") or {})
            if swarm.get("ControlAvailable") is not True:
                raise _no_manager(self._daemon.where, swarm.get("LocalNodeState") == "active")
            machines = list(usable(listed(client.nodes())))
            gpus = sum(gpus_of(machine, self._manners.resource) for machine in machines)
            version = one_line(said.get("ServerVersion", ""), 40)
            return EngineInfo(version, sum(map(memory_of, machines)), gpus, len(machines))

        return await self._ask(look)

    async def containers(self, fleet: str) -> Sequence[Container]:
        """See `IContainerEngine.containers`."""
        ours = {"label": f"{FLEET}={fleet}"}

        def look(client: Client) -> list[Container]:
            services, tasks = listed(client.services(filters=ours)), listed(client.tasks(filters=ours))
            return containers(services, tasks, listed(client.nodes()))

        return await self._ask(look)

    async def resolve(self, reference: str, login: RegistryLogin | None) -> str:
        """See `IContainerEngine.resolve`. It is the manager that asks the registry."""
        return await self._manager.resolve(reference, login)

    async def image(self, image: str) -> str | None:
        """See `IContainerEngine.image`."""
        await self._ask(lambda client: client.ping(), image)
        return image if image in self._logins else None

    async def pull(self, pinned: str, login: RegistryLogin | None, progress: Progress) -> str:
        """See `IContainerEngine.pull`."""
        if "@sha256:" not in pinned:
            raise EngineRefused(f"the image {one_line(pinned)} has no digest, and a Swarm takes none by anything else")
        await self._ask(lambda client: client.inspect_distribution(pinned, credentials(login)), pinned)
        self._logins[pinned] = login
        progress(1.0)
        return pinned

    async def load(self, archive: AsyncIterator[bytes], size: int | None, progress: Progress) -> str:
        """See `IContainerEngine.load`.

        :raises EngineRefused: always.
        """
        await self._ask(lambda client: client.ping())
        raise EngineRefused(
            "a Docker Swarm takes images from a registry, and no archive: push the image, and name it with reference"
        )

    async def create(self, spec: ContainerSpec) -> None:
        """See `IContainerEngine.create`. A service without a task."""

        def make(client: Client) -> None:
            if spec.image not in self._logins:
                raise refusal("No such image", spec.image)
            try:
                client.make_service(service_body(spec, self._manners), self._logins[spec.image])
            except APIError as error:
                if error.status_code != 409:
                    raise
                if _ours(client, spec.name)["Spec"]["Labels"].get(FLEET) != spec.labels.get(FLEET):
                    raise _taken(spec.name) from None

        await self._ask(make, spec.name)

    async def start(self, name: str) -> None:
        """See `IContainerEngine.start`."""
        await self._change(name, lambda spec: with_tasks(spec, 1))

    async def restart(self, name: str, grace: float) -> None:
        """See `IContainerEngine.restart`. The new task may run on another machine."""
        await self._change(name, lambda spec: with_tasks(begun_anew(spec), 1))

    async def remove(self, name: str, grace: float) -> None:
        """See `IContainerEngine.remove`."""

        def end(client: Client) -> None:
            try:
                client.remove_service(_ours(client, name, missing=NotFound("gone"))["ID"])
            except NotFound:
                return

        await self._ask(end, name)

    async def logs(self, name: str, tail: int, follow: bool) -> AsyncIterator[bytes]:
        """See `IContainerEngine.logs`. Of the task that counts, or of the last one that has run."""

        def find(client: Client) -> str:
            tasks = listed(client.tasks(filters={"service": _ours(client, name)["ID"]}))
            last = printed_last(tasks)
            return "" if last is None else text(last, "ID")

        task = await self._ask(find, name)
        if task:
            pieces = self._daemon.feed(self._in_swarm(_printed_by(task, tail, follow)), name, quiet=follow)
            async for piece in until_over(pieces, lambda: self._task_over(task), self._daemon.reactor):
                yield piece

    async def _task_over(self, task: str) -> bool:
        """Whether a task has ended, or is to; a manager does not end what follows its output."""

        def look(client: Client) -> bool:
            try:
                return is_over(mapping(client.inspect_task(task)))
            except NotFound:
                return True

        return await self._ask(look)

    async def close(self) -> None:
        """See `IContainerEngine.close`."""
        await self._daemon.close()

    async def _change(self, name: str, change: Change) -> None:
        """Change a service, whoever else does so at the time (the Swarm itself, while it is new)."""

        def write(client: Client) -> None:
            while True:
                service = _ours(client, name)
                spec = change(service["Spec"])
                if spec == service["Spec"]:
                    return
                try:
                    client.change_service(text(service, "ID"), whole(mapping(service["Version"]), "Index"), spec)
                    return
                except APIError as error:
                    if "update out of sequence" not in str(error.explanation) or time.monotonic() > client.until:
                        raise
                    time.sleep(0.02)

        await self._ask(write, name)

    async def _ask(self, question: Callable[[Client], T], about: str = "") -> T:
        return await self._daemon.ask(self._in_swarm(question), about)

    def _in_swarm(self, question: Callable[[Client], T]) -> Callable[[Client], T]:
        """The question, with what only managers of Swarms refuse put into words."""

        def put(client: Client) -> T:
            try:
                return question(client)
            except APIError as error:
                said = str(error.explanation)
                if "not a swarm manager" in said:
                    raise _no_manager(self._daemon.where, "Worker nodes" in said) from None
                if "Swarm is encrypted" in said:
                    raise EngineRefused(
                        f"the Swarm at {self._daemon.where} is locked: run `docker swarm unlock`"
                    ) from None
                if "does not have a leader" in said or "context deadline exceeded" in said:
                    lost = (
                        f"the Swarm at {self._daemon.where} has no leader: more than half of its managers have to run"
                    )
                    raise EngineUnreachable(lost) from None
                raise

        return put


def _printed_by(task: str, tail: int, follow: bool) -> Callable[[Client], Iterator[bytes]]:
    def printed(client: Client) -> Iterator[bytes]:
        response, unframed = client.printing_of_task(task, tail, follow), Unframed()
        return filter(None, (unframed.feed(piece) for piece in client.pieces(response)))

    return printed


def _no_manager(where: str, worker: bool) -> EngineRefused:
    if worker:
        return EngineRefused(
            f"the engine at {where} is a worker of its Swarm: name a manager of it, or run `docker node promote` for it"
        )
    return EngineRefused(
        f"the engine at {where} is in no Swarm: run `docker swarm init` there, or leave swarm+ out to use it alone"
    )


def _taken(name: str) -> EngineRefused:
    return EngineRefused(f"the name {name} is taken by a service that is not of this fleet: remove or rename it")


def _ours(client: Client, name: str, missing: Exception | None = None) -> Mapping[str, Any]:
    """The service of a container; nobody else's is touched for its name.

    :param missing: what is raised where there is none.
    """
    try:
        service = mapping(client.inspect_service(service_name(name)))
    except NotFound:
        raise missing or refusal("No such container", name) from None
    labels = mapping(mapping(service["Spec"]).get("Labels") or {})
    if labels.get(NAME) != name or FLEET not in labels:
        raise _taken(name)
    return service
