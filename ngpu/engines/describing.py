"""What an engine says of a container (``GET /containers/<id>/json``), as we know containers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ngpu.containers import Container, ContainerHealth, ContainerState
from ngpu.engines.reading import BadAnswer, listed, mapping, moment, one_line, text, whole
from ngpu.engines.sentences import refusal

_STATES = {
    "created": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "paused": ContainerState.RUNNING,
    "restarting": ContainerState.RESTARTING,
    "removing": ContainerState.EXITED,
    "exited": ContainerState.EXITED,
    "dead": ContainerState.DEAD,
    "stopped": ContainerState.EXITED,
}
_CODES = {
    126: "the command cannot be started (exit code 126): something in the image that it calls cannot be executed",
    127: "the command cannot be started (exit code 127): it, or something that it calls, is not in the image",
    137: "it was killed (exit code 137): by its machine for want of memory, or by somebody there",
    139: "it crashed (exit code 139, a segmentation fault)",
}


def container_of(said: Any) -> Container:
    """A container, read strictly.

    :raises BadAnswer: what was said is no description of one.
    """
    whole_answer = mapping(said)
    state_said = mapping(whole_answer.get("State"))
    status = text(state_said, "Status")
    if status not in _STATES:
        raise BadAnswer(f"a container that is {one_line(status, 20)}")
    state = _STATES[status]
    labels = mapping(mapping(whole_answer.get("Config")).get("Labels") or {})
    health = _health(state_said) if state is ContainerState.RUNNING else ContainerHealth.NONE
    running = state is ContainerState.RUNNING
    return Container(
        id=text(whole_answer, "Id"),
        name=text(whole_answer, "Name").removeprefix("/"),
        labels={key: text(labels, key) for key in labels},
        state=state,
        health=health,
        ports=_ports(mapping(whole_answer.get("NetworkSettings"))) if running else {},
        started_at=moment(state_said, "StartedAt"),
        restarts=whole(whole_answer, "RestartCount", 0),
        reason=_reason(state, status, health, state_said),
    )


def damaged(listed_as: Any, reason: str) -> Container:
    """A container that its engine lists and cannot describe, such as one whose files a power cut has taken.

    What it does not run any more it will not start either.

    :param reason: why it is not described.
    :raises BadAnswer: what was listed is no container.
    """
    said = mapping(listed_as)
    state = _STATES.get(text(said, "State", ""), ContainerState.EXITED)
    running = state is ContainerState.RUNNING
    labels = mapping(said.get("Labels") or {})
    names = listed(said.get("Names"))
    if not names or not isinstance(names[0], str):
        raise BadAnswer("a container without a name")
    return Container(
        id=text(said, "Id"),
        name=names[0].removeprefix("/"),
        labels={key: text(labels, key) for key in labels},
        state=state if running or state is ContainerState.RESTARTING else ContainerState.DEAD,
        ports=_listed_ports(listed(said.get("Ports") or [])) if running else {},
        reason=reason,
    )


def _listed_ports(ports: Sequence[Any]) -> dict[int, int]:
    found = [(whole(mapping(port), "PrivatePort", 0), whole(mapping(port), "PublicPort", 0)) for port in ports]
    return {inside: outside for inside, outside in reversed(found) if inside and outside}


def _health(state: Mapping[str, Any]) -> ContainerHealth:
    status = mapping(state.get("Health") or {}).get("Status", "none")
    try:
        return ContainerHealth(status)
    except ValueError:
        return ContainerHealth.NONE


def _ports(network: Mapping[str, Any]) -> dict[int, int]:
    """Container port → port of the host; an engine lists one for IPv4 and one for IPv6, and the first counts."""
    published: dict[int, int] = {}
    for inside, bindings in mapping(network.get("Ports") or {}).items():
        number, _, protocol = inside.partition("/")
        for binding in listed(bindings)[:1]:
            outside = text(mapping(binding), "HostPort")
            if not (number.isascii() and number.isdigit() and outside.isascii() and outside.isdigit()):
                raise BadAnswer("a port that is no number")
            if protocol == "tcp" and 0 < int(outside) < 65536:
                published[int(number)] = int(outside)
    return published


def _reason(state: ContainerState, status: str, health: ContainerHealth, said: Mapping[str, Any]) -> str:
    """What keeps it from running."""
    error = text(said, "Error", "")
    if health is ContainerHealth.UNHEALTHY:
        return f"its HEALTHCHECK fails{_check(mapping(said.get('Health')))}"
    if status == "paused":
        return "somebody has paused it: `docker unpause` on its machine lets it go on"
    if state is ContainerState.RUNNING or (state is ContainerState.CREATED and not error):
        return ""
    if error:
        return str(refusal(error))
    if said.get("OOMKilled") is True:
        return "it ran out of memory: give it more (`container.memory`), or make it use less"
    return ended_with(whole(said, "ExitCode", 0))


def ended_with(code: int) -> str:
    """Why a container ended, as far as its exit code tells."""
    return _CODES.get(code, f"it ended with exit code {code}; its logs may say why")


def _check(health: Mapping[str, Any]) -> str:
    checks = listed(health.get("Log"))
    if not checks:
        return ""
    last = mapping(checks[-1])
    return f" (exit code {whole(last, 'ExitCode', 0)}): {one_line(last.get('Output', ''), 160)}"
