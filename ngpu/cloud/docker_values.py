"""The values of the flags of ``docker run``: ports, sizes, GPUs, variables, mounts. Each is read or refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from ngpu.containers import Mount
from ngpu.errors import BadRequest

ALL_GPUS = -1
"""Stands for ``--gpus all``: as many as the product has."""

MOST_PORTS, MOST_GPUS, MOST_BYTES, MOST_SECONDS = 100, 64, 1 << 50, 3600

_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,6}))?\s*(b|[kmgt](?:i?b)?)?", re.ASCII | re.IGNORECASE)
_POWER = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_VARIABLE = re.compile(r"[^=\x00]{1,256}")
_FOLDER = re.compile(r"/[^\x00-\x1f:]*")
_SHOWN = 60


def published(text: str, what: str) -> Iterator[tuple[int, int]]:
    """Declared and container ports of ``8080:80``, ``80`` or ``8000-8003:9000-9003``, each pair once.

    :param what: where it stands, for the message.
    :raises BadRequest: it is no such mapping.
    """
    mapping, _, protocol = text.strip().partition("/")
    if protocol.lower() not in ("", "tcp"):
        raise BadRequest(f"{what} {_shown(text)}: only tcp ports are served")
    parts = mapping.split(":")
    if len(parts) > 2:
        if parts[0] not in ("0.0.0.0",) or len(parts) > 3:  # noqa: S104  # nothing is bound here
            raise BadRequest(f"{what} {_shown(text)}: leave the address out; ngpu decides where ports are reached")
        parts = parts[1:]
    declared, inside = (_ports(part, text, what) for part in ((parts[0] or parts[-1]), parts[-1]))
    if len(declared) != len(inside):
        raise BadRequest(f"{what} {_shown(text)}: the two ranges must be of one length")
    yield from zip(declared, inside, strict=True)


def _ports(part: str, text: str, what: str) -> range:
    matched = _RANGE.fullmatch(part)
    first, last = (int(matched[1]), int(matched[2] or matched[1])) if matched else (0, 0)
    if not 1 <= first <= last <= 65535:
        raise BadRequest(f"{what} {_shown(text)} is no mapping of ports: write it as 8080:80")
    if last - first >= MOST_PORTS:
        raise BadRequest(f"{what} {_shown(text)}: at most {MOST_PORTS} ports can be declared")
    return range(first, last + 1)


def add_port(ports: dict[int, int], declared: int, inside: int, what: str) -> None:
    """Declare a port.

    :raises BadRequest: it leads to another one already, or there are too many.
    """
    if ports.setdefault(declared, inside) != inside:
        raise BadRequest(f"{what}: port {declared} leads both to {ports[declared]} and to {inside} of the container")
    if len(ports) > MOST_PORTS:
        raise BadRequest(f"{what}: at most {MOST_PORTS} ports can be declared")


def port_mapping(text: str) -> dict[int, int]:
    """The ports of ``8080:80,8081:81``.

    :raises BadRequest: it is no such list.
    """
    ports: dict[int, int] = {}
    for part in text.split(","):
        if part.strip():
            for declared, inside in published(part, "port_mapping:"):
                add_port(ports, declared, inside, "port_mapping")
    return ports


def gpu_count(text: str) -> int:
    """How many GPUs ``all``, ``2``, ``device=0,1`` or ``count=2,capabilities=compute`` stand for.

    Which ones they are is not the customer's to choose, so of a list of devices only its length counts.

    :raises BadRequest: it is none of them.
    """
    bare = text.strip().strip("\"'").strip()
    if bare == "all":
        return ALL_GPUS
    if re.fullmatch(r"[0-9]{1,4}", bare, re.ASCII):
        return whole(bare, "--gpus", 0, MOST_GPUS)
    count: int | None = None
    devices = 0
    counting = False
    for part in bare.split(","):
        key, equals, value = part.partition("=")
        value = value.strip("\"'")
        if equals:
            counting = key == "device"
        if equals and key == "count":
            count = gpu_count(value) if value != "" and "=" not in value else None
        elif equals and key == "device":
            devices += bool(value)
        elif not equals and counting and part:
            devices += 1
        elif not equals or key not in ("capabilities", "driver", "options"):
            raise BadRequest(f"start_cmd: --gpus {_shown(text)}: write all, a number, or device=0,1")
    if count is None and not devices:
        raise BadRequest(f"start_cmd: --gpus {_shown(text)}: write all, a number, or device=0,1")
    return devices if count is None else count


def memory_size(text: str, flag: str) -> int:
    """Bytes of ``512m``, ``8g`` or ``1073741824``; Docker's units are powers of 1024.

    :raises BadRequest: it is none.
    """
    matched = _SIZE.fullmatch(text.strip())
    if matched is None:
        raise BadRequest(f"start_cmd: {flag} {_shown(text)} is no size: write it as 512m or 8g")
    unit: int = 1024 ** _POWER[(matched[3] or "b")[0].lower()]
    fraction = matched[2] or ""
    size = int(matched[1]) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
    if size > MOST_BYTES:
        raise BadRequest(f"start_cmd: {flag} {_shown(text)} is more than any machine has")
    return size


def environment(text: str) -> tuple[str, str]:
    """Name and value of ``NAME=value``.

    :raises BadRequest: there is no value: Docker would take it from the shell of whoever types the line.
    """
    name, equals, value = text.partition("=")
    if not equals or not _VARIABLE.fullmatch(name):
        raise BadRequest(f"start_cmd: -e {_shown(name)}: write it as NAME=value")
    return name, value


def mounted(text: str, allowed: Collection[str]) -> Mount:
    """The mount of ``/folder:/target`` or ``/folder:/target:ro``, of a folder that the operator has listed.

    It is read-only, since other customers may mount the same one. A folder below a listed one is not listed: its
    name may be a link that somebody has put there.

    :raises BadRequest: it is no such mount, or of another folder.
    """
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not _FOLDER.fullmatch(source) or not _FOLDER.fullmatch(target) or ".." in (source + "/" + target).split("/"):
        raise BadRequest(f"start_cmd: -v {_shown(text)}: write it as /folder/of/machine:/target; there are no volumes")
    folder = source.rstrip("/") or "/"
    if folder not in {each.rstrip("/") or "/" for each in allowed}:
        raise BadRequest(
            f"start_cmd: -v {_shown(text)} is not allowed: the operator has not listed {_shown(folder)} in fleet.mounts"
        )
    if set(mode.split(",")) - {"", "ro", "z", "Z"}:
        raise BadRequest(f"start_cmd: -v {_shown(text)}: folders of the machine are mounted read-only: write :ro")
    return Mount(folder, target, read_only=True)


def tmpfs_folder(text: str) -> str:
    """The folder of ``/tmp`` or ``/tmp:size=1g``.

    :raises BadRequest: it is none.
    """
    folder = text.partition(":")[0]
    if not _FOLDER.fullmatch(folder):
        raise BadRequest(f"start_cmd: --tmpfs {_shown(text)}: write it as /folder")
    return folder


def seconds(text: str, flag: str) -> int:
    """Whole seconds, with or without ``s``; -1, Docker's way of saying "without end", is as long as there may be.

    :raises BadRequest: it is no such number.
    """
    bare = text.strip()
    return MOST_SECONDS if bare == "-1" else whole(bare.removesuffix("s"), flag, 0, MOST_SECONDS)


def whole(text: str, flag: str, least: int, most: int) -> int:
    """A whole number.

    :raises BadRequest: it is none, or not within ``least`` and ``most``.
    """
    bare = text.strip()
    if not re.fullmatch(r"[0-9]{1,9}", bare, re.ASCII) or not least <= int(bare) <= most:
        raise BadRequest(f"start_cmd: {flag} {_shown(text)}: must be a whole number from {least} to {most}")
    return int(bare)


def _shown(text: str) -> str:
    kept = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return kept if kept.isprintable() else ascii(kept)
