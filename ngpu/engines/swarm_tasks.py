"""What a Swarm's manager tells of services, tasks and machines, read as containers (Docker Engine API 1.41)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ngpu.containers import Container, ContainerHealth, ContainerState
from ngpu.engines.describing import ended_with
from ngpu.engines.reading import listed, mapping, moment, one_line, text, whole
from ngpu.engines.sentences import refusal
from ngpu.engines.swarm_service import NAME

ADDRESS, HOST = "ngpu.address", "ngpu.host"
"""Labels of a Swarm's machine: its address as in ``nodes[].address``, and where its published ports are reached."""

Json = Mapping[str, Any]

_ENDED = frozenset({"complete", "failed", "shutdown", "rejected", "orphaned", "remove"})
_BY_ITSELF = frozenset({"complete", "failed"})
_WANTED = frozenset({"ready", "running"})
_NOWHERE = ("", "0.0.0.0", "127.0.0.1", "::")  # noqa: S104  # nothing is bound
_COUNTED = re.compile(r"(?:(\d+) nodes? )?(\S.*?)(?: on (\d+) nodes?)?", re.ASCII)
_REFUSALS = {
    "insufficient resources": "too few free GPUs or too little free memory",
    "host-mode port already in use": "the port in use",
    "scheduling constraints not satisfied": "not what the constraints ask for",
    "unsupported platform": "another architecture than the image",
    "not available for new tasks": "no room for anything: down, paused or drained",
}


def containers(services: Iterable[Json], tasks: Iterable[Json], machines: Iterable[Json]) -> list[Container]:
    """Each service of ours as the container that it stands for.

    :raises BadAnswer: from this and the others here: what was told is nothing that Docker's API gives.
    """
    by_service = defaultdict(list)
    for task in tasks:
        by_service[text(mapping(task), "ServiceID", "")].append(task)
    by_id = {text(mapping(machine), "ID"): machine for machine in machines}
    return [_container(mapping(service), by_service[text(mapping(service), "ID")], by_id) for service in services]


def _container(service: Json, tasks: Sequence[Json], machines: Mapping[str, Json]) -> Container:
    spec = _part(service, "Spec")
    labels = {label: text(_part(spec, "Labels"), label) for label in _part(spec, "Labels")}
    name = labels.pop(NAME, text(spec, "Name"))
    if not whole(_part(_part(spec, "Mode"), "Replicated"), "Replicas", 0):
        return Container(text(service, "ID"), name, labels, ContainerState.CREATED)
    in_turn = sorted(tasks, key=_made_at, reverse=True)
    now = current(in_turn)
    ended = [task for task in in_turn if _state(task) in _BY_ITSELF]
    if now is None:
        return Container(text(service, "ID"), name, labels, ContainerState.PENDING, restarts=len(ended))
    machine = machines.get(text(now, "NodeID", ""), {})
    running = _state(now) == "running"
    return Container(
        text(service, "ID"),
        name,
        labels,
        _as_container(now, ended),
        # a Swarm holds a task back as "starting" until the image's own HEALTHCHECK has passed
        ContainerHealth.STARTING if _state(now) == "starting" else ContainerHealth.NONE,
        _ports(now) if running else {},
        moment(_part(now, "Status"), "Timestamp") if running else None,
        len(ended),
        "" if running else _reason(now, in_turn),
        host_of(machine),
        machine_name(machine),
    )


def current(tasks: Iterable[Json]) -> Json | None:
    """The task that counts, of one service's: the newest that is wanted, else the newest."""
    in_turn = sorted(tasks, key=_made_at, reverse=True)
    return next((task for task in in_turn if task.get("DesiredState") in _WANTED), in_turn[0] if in_turn else None)


def printed_last(tasks: Iterable[Json]) -> Json | None:
    """The task whose output is that of the container: the one that counts, or the newest that came so far."""
    in_turn = sorted(tasks, key=_made_at, reverse=True)
    came = (task for task in (current(in_turn), *in_turn) if task and _ended_as(task).get("ContainerID"))
    return next(came, None)


def is_over(task: Json) -> bool:
    """Whether a task has ended, or is to end."""
    return _state(task) in _ENDED or task.get("DesiredState") not in _WANTED


def _as_container(now: Json, ended: Sequence[Json]) -> ContainerState:
    if _state(now) == "running":
        return ContainerState.RUNNING
    if _state(now) in _BY_ITSELF or (ended and not _unplaced(now)):
        return ContainerState.RESTARTING
    return ContainerState.PENDING


def _reason(now: Json, in_turn: Sequence[Json]) -> str:
    """What keeps it from running: the scheduler's word, or why the task before it ended."""
    if _unplaced(now):
        return unplaced(_error(now))
    why = next((task for task in in_turn if _error(task) and _state(task) in ("failed", "rejected")), None)
    return "" if why is None else ended_because(why)


def unplaced(error: str) -> str:
    """Why no machine takes a task: the scheduler's words (``no suitable node (…)``) as a sentence."""
    inside = re.fullmatch(r"no suitable node(?: \((.*)\))?", error)
    if inside is None:
        return f"the Swarm found no machine for it: {one_line(error)}"
    if not inside[1]:
        return "the Swarm has no machine for it"
    return f"no machine of the Swarm can take it: {', '.join(map(_refusal, one_line(inside[1]).split('; ')))}"


def _refusal(part: str) -> str:
    match = _COUNTED.fullmatch(part)
    if match is None or match[2] not in _REFUSALS:
        return part
    count = match[1] or match[3] or "some"
    return f"{count} {'has' if count == '1' else 'have'} {_REFUSALS[match[2]]}"


def ended_because(task: Json) -> str:
    """Why a task failed or could not be started, in the engine's words as far as they have no better ones."""
    error = _error(task)
    if "unhealthy container" in error:
        return "its image's HEALTHCHECK failed"
    if error.startswith("task: non-zero exit"):
        return ended_with(whole(_ended_as(task), "ExitCode", 0))
    return str(refusal(error, text(_part(_part(task, "Spec"), "ContainerSpec"), "Image", "")))


def host_of(machine: Json) -> str:
    """Where a machine's published ports are reached; "" where the Swarm does not know."""
    address = text(_part(machine, "Status"), "Addr", "")
    if address in _NOWHERE:  # of a manager that was not told what to advertise
        address = text(_part(machine, "ManagerStatus"), "Addr", "").rpartition(":")[0].strip("[]")
    return _label(machine, HOST) or ("" if address in _NOWHERE else address)


def machine_name(machine: Json) -> str:
    """A machine's address as in ``nodes[].address`` where it is labelled with one, else its host name."""
    return _label(machine, ADDRESS) or text(_part(machine, "Description"), "Hostname", "")


def usable(machines: Iterable[Json]) -> Iterator[Json]:
    """Those that take tasks now."""
    for machine in machines:
        ready = text(_part(mapping(machine), "Status"), "State", "") == "ready"
        if ready and text(_part(machine, "Spec"), "Availability", "") == "active":
            yield machine


def memory_of(machine: Json) -> int:
    """Bytes."""
    return whole(_part(_part(machine, "Description"), "Resources"), "MemoryBytes", 0)


def gpus_of(machine: Json, kind: str) -> int:
    """How many of a generic resource a machine has, counted or named."""
    count = 0
    for resource in listed(_part(_part(machine, "Description"), "Resources").get("GenericResources")):
        counted, named = _part(mapping(resource), "DiscreteResourceSpec"), _part(resource, "NamedResourceSpec")
        if counted.get("Kind") == kind:
            count += whole(counted, "Value", 0)
        elif named.get("Kind") == kind:
            count += 1
    return count


def _part(block: Json, key: str) -> Json:
    """An object within an object; Docker leaves out, or writes ``null`` for, an empty one."""
    return mapping(block.get(key) or {})


def _label(machine: Json, name: str) -> str:
    return text(_part(_part(machine, "Spec"), "Labels"), name, "")


def _ended_as(task: Json) -> Json:
    return _part(_part(task, "Status"), "ContainerStatus")


def _state(task: Json) -> str:
    return text(_part(task, "Status"), "State", "")


def _error(task: Json) -> str:
    return text(_part(task, "Status"), "Err", "")


def _unplaced(task: Json) -> bool:
    """Whether the Swarm looks for a machine and says why it finds none."""
    return _state(task) in ("new", "pending") and _error(task) != ""


def _made_at(task: Json) -> float:
    return moment(task, "CreatedAt") or 0.0


def _ports(task: Json) -> dict[int, int]:
    """Container port → port of the machine; engine 20.10 tells each twice."""
    published = [mapping(each) for each in listed(_part(_part(task, "Status"), "PortStatus").get("Ports"))]
    ports = {whole(each, "TargetPort"): whole(each, "PublishedPort", 0) for each in published}
    return {inside: outside for inside, outside in ports.items() if 0 < outside < 65536}
