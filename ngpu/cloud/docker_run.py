"""A whole ``docker run …`` line, as the published client sends it (wire contract §7): what of it a workspace becomes.

Nothing is run: the line is data. What would give a container more than its customer may have is refused with a
sentence; what ngpu does in its own way (names, restarts, terminals) is passed over.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from ngpu.cloud import docker_flags as flags
from ngpu.cloud.docker_values import (
    add_port,
    environment,
    gpu_count,
    memory_size,
    mounted,
    published,
    seconds,
    tmpfs_folder,
    whole,
)
from ngpu.containers import Mount
from ngpu.errors import BadRequest
from ngpu.settings.nearest import nearest

LONGEST = 8192
"""Characters that a line may have."""

MOST_PIDS = 4096

_NVIDIA = re.compile(r"NVIDIA_(VISIBLE_DEVICES|DRIVER_CAPABILITIES)|CUDA_VISIBLE_DEVICES")
_IMAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/:@-]*[A-Za-z0-9])?", re.ASCII)
_SHELL = frozenset({"&&", "||", ";", ";;", "|", "|&", "&", ">", ">>", "<", "<<", "2>", "2>&1", "&>"})
_USER = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_SHOWN = 60

_STARTS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("docker", "run"), ()),
    (("docker", "container", "run"), ()),
    (("nvidia-docker", "run"), ("--gpus=all",)),
)
"""How a line may begin, and what flags that stands for."""


@dataclass(frozen=True, slots=True)
class DockerRun:
    """What a line asks for.

    ``ports`` maps the ports that callers name (those of the host, in the line) to those of the container. ``gpus`` is
    how many GPUs a copy gets; `ALL_GPUS` stands for ``--gpus all``. Sizes are bytes, 0 where the line says nothing.
    """

    image: str
    command: tuple[str, ...] = ()
    ports: Mapping[int, int] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    gpus: int = 0
    memory: int = 0
    shm: int = 0
    pids: int = 0
    user: str = ""
    read_only: bool = False
    tmpfs: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    stop_grace: int | None = None


def parse_docker_run(line: str, mounts: Collection[str] = ()) -> DockerRun:
    """Read a line.

    :param mounts: folders of the machines that may be mounted.
    :raises BadRequest: it is no such line, or asks for what it may not have; the message says which part.
    """
    words = _words(line)
    given, rest = _flags(words)
    run = _Reading(frozenset(mounts))
    for name, value in given:
        run.take(name, value)
    if not rest:
        raise BadRequest("start_cmd names no image: docker run [flags] IMAGE [command]")
    image, command = rest[0], tuple(rest[1:])
    if len(image) > 255 or not _IMAGE.fullmatch(image):
        raise BadRequest(f"start_cmd: {_shown(image)} is no image")
    if odd := next((word for word in command if word in _SHELL), None):
        raise BadRequest(f"start_cmd is one docker run command and no line for a shell: {odd} means nothing here")
    return run.result(image, command)


def _words(line: str) -> list[str]:
    """The words of the line behind ``docker run``."""
    if len(line) > LONGEST:
        raise BadRequest(f"start_cmd may have {LONGEST} characters")
    if "\0" in line:
        raise BadRequest("start_cmd holds a NUL character")
    try:
        words = shlex.split(re.sub(r"\\\r?\n", " ", line))
    except ValueError as error:
        raise BadRequest(f"start_cmd cannot be read: {str(error).lower()}") from None
    if words[:1] == ["sudo"]:
        words = words[1:]
    for start, more in _STARTS:
        if tuple(words[: len(start)]) == start:
            return [*more, *words[len(start) :]]
    raise BadRequest("start_cmd must be a docker run command: docker run -itd --gpus all -p 8075:4040 IMAGE [command]")


def _flags(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Names and values of the flags, and the words from the image on."""
    given: list[tuple[str, str]] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            return given, list(rest)
        if word.startswith("--"):
            given.append(_long(word[2:], rest))
        elif word.startswith("-") and word != "-":
            given += _short(word[1:], rest)
        else:
            return given, [word, *rest]
    return given, []


def _long(text: str, rest: Iterator[str]) -> tuple[str, str]:
    written, equals, value = text.partition("=")
    name = _known(flags.ALIASES.get(written, written), "--" + written)
    if name in flags.SWITCHES:
        return name, _truth(written, value) if equals else "true"
    return name, value if equals else _next(rest, "--" + written)


def _short(letters: str, rest: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Letters run together: all but the last are switches, and a value may follow without a space."""
    while letters:
        letter, letters = letters[0], letters[1:]
        name = _known(flags.SHORT.get(letter, ""), "-" + letter)
        if name not in flags.SWITCHES:
            yield name, letters.removeprefix("=") if letters else _next(rest, "-" + letter)
            return
        if letters.startswith("="):
            yield name, _truth(letter, letters[1:])
            return
        yield name, "true"


def _known(name: str, written: str) -> str:
    if name in flags.KNOWN:
        return name
    meant = nearest(written.lstrip("-"), sorted(flags.KNOWN)) if written.startswith("--") else None
    hint = f"; did you mean --{meant}?" if meant else ""
    raise BadRequest(f"start_cmd: docker run has no flag {_shown(written)}{hint}")


def _next(rest: Iterator[str], written: str) -> str:
    value = next(rest, None)
    if value is None:
        raise BadRequest(f"start_cmd: {written} needs a value")
    return value


def _truth(written: str, value: str) -> str:
    truth = {"true": "true", "1": "true", "t": "true", "false": "", "0": "", "f": ""}.get(value.lower())
    if truth is None:
        raise BadRequest(f"start_cmd: {_shown(written)} is either true or false")
    return truth


def _shown(text: str) -> str:
    kept = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return kept if kept.isprintable() else ascii(kept)


class _Reading:
    """Takes flags one by one; a later one of a kind that holds one value wins, as in Docker."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed
        self._ports: dict[int, int] = {}
        self._env: dict[str, str] = {}
        self._one: dict[str, int] = {}
        self._user = ""
        self._read_only = False
        self._tmpfs: list[str] = []
        self._mounts: list[Mount] = []

    def take(self, name: str, value: str) -> None:
        if name in flags.REFUSED:
            if name not in flags.SWITCHES or value:
                raise BadRequest(f"start_cmd: --{name} is not allowed: {flags.REFUSED[name]}")
        elif name in flags.HARMLESS:
            fine, why = flags.HARMLESS[name]
            if value not in fine:
                raise BadRequest(f"start_cmd: --{name} {_shown(value)} is not allowed: {why}")
        elif name in flags.HEEDED:
            self._heed(name, value)

    def _heed(self, name: str, value: str) -> None:
        match name:
            case "publish":
                for declared, port in published(value, "start_cmd: -p"):
                    add_port(self._ports, declared, port, "start_cmd")
            case "env":
                key, text = environment(value)
                if not _NVIDIA.fullmatch(key):  # which GPUs a copy sees is not for it to say
                    self._env[key] = text
            case "volume":
                self._mounts.append(mounted(value, self._allowed))
            case "tmpfs":
                self._tmpfs.append(tmpfs_folder(value))
            case "user":
                if not _USER.fullmatch(value):
                    raise BadRequest(f"start_cmd: --user {_shown(value)}: write a name or number, or user:group")
                self._user = value
            case "read-only":
                self._read_only = bool(value)
            case _:
                self._one[name] = self._number(name, value)

    def _number(self, name: str, value: str) -> int:
        match name:
            case "gpus":
                return gpu_count(value)
            case "runtime":
                if value not in ("nvidia", "runc"):
                    raise BadRequest("start_cmd: --runtime may be nvidia; others are not for customers to choose")
                return gpu_count("all") if value == "nvidia" else 0
            case "stop-timeout":
                return seconds(value, "--stop-timeout")
            case "pids-limit":
                return whole(value, "--pids-limit", 1, MOST_PIDS)
        return memory_size(value, f"--{name}")

    def result(self, image: str, command: tuple[str, ...]) -> DockerRun:
        return DockerRun(
            image=image,
            command=command,
            ports=self._ports,
            env=self._env,
            gpus=self._one.get("gpus", self._one.get("runtime", 0)),
            memory=self._one.get("memory", 0),
            shm=self._one.get("shm-size", 0),
            pids=self._one.get("pids-limit", 0),
            user=self._user,
            read_only=self._read_only,
            tmpfs=tuple(self._tmpfs),
            mounts=tuple(self._mounts),
            stop_grace=self._one.get("stop-timeout"),
        )
