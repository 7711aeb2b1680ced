"""What a Redis is asked before anything is entrusted to it, on every new connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ngpu.stores.redis.address import Address
from ngpu.stores.redis.wire import Refused, Wire, code, said

OLDEST = (6, 2)
"""The oldest version of Redis that will do."""

_PASSING = ("LOADING", "BUSY", "MASTERDOWN")


class Unfit(Exception):
    """This Redis cannot keep tasks; the message says what to change.

    :param lasting: it stays so until somebody changes something.
    """

    def __init__(self, message: str, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


async def greet(wire: Wire, address: Address, prefix: str) -> None:
    """Log in, choose the database, and see that it keeps what it is told, and tells it to others.

    :param prefix: of our keys and channels.
    :raises Unfit: it does not, or does not let us in.
    :raises Lost: the connection broke.
    """
    if address.password:
        await _ask(wire, "the login", "AUTH", *([address.username] if address.username else []), address.password)
    if address.database:
        await _ask(wire, f"database {address.database}", "SELECT", str(address.database))
    info = parsed(await _ask(wire, "INFO", "INFO"))
    for message, lasting in objections(info, bool(address.sentinels)):
        raise Unfit(message, lasting)
    try:
        await wire.execute_command("PUBLISH", f"{prefix}:say:hello", " ")
    except Refused as error:
        raise unfit("PUBLISH", prefix, error) from None


def unfit(what: str, prefix: str, error: Refused) -> Unfit:
    """A Redis that does not let its user speak or listen on our channels."""
    rights = f"&{prefix}:* +publish +subscribe +unsubscribe"
    passing = code(error) in _PASSING
    return Unfit(f"refuses {what} on the channels {prefix}:* ({said(error)}); give its user {rights}", not passing)


async def _ask(wire: Wire, what: str, *command: str) -> bytes:
    try:
        return await wire.execute_command(*command)  # type: ignore[no-any-return]
    except Refused as error:
        raise Unfit(f"refuses {what}: {said(error)}", code(error) not in _PASSING) from None


def parsed(info: bytes) -> dict[str, str]:
    """The fields of a reply to INFO."""
    lines = info.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def objections(info: Mapping[str, str], watched: bool = False) -> Iterator[tuple[str, bool]]:
    """Why a Redis with such an INFO will not do, the most important first, and whether that lasts.

    :param watched: by sentinels, which soon name another master.
    """
    if info.get("loading") == "1":
        yield "is loading its data still", False
    if info.get("role") != "master":
        whose = f" of {info['master_host']}:{info['master_port']}" if info.get("master_host") else ""
        yield f"is a replica{whose} and takes no writes; name the master, or its sentinels", not watched
    version = info.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
        yield f"has version {version}; it takes {'.'.join(map(str, OLDEST))} or newer", True
    if info.get("cluster_enabled") == "1":
        yield "is a node of a Redis Cluster, which spreads keys over machines; name one that is none", True
    if info.get("aof_enabled") != "1":
        yield f"would lose tasks when it is killed: {_set('appendonly yes')}", True
    if info.get("maxmemory_policy") != "noeviction":
        yield f"throws tasks away when its memory is full: {_set('maxmemory-policy noeviction')}", True


def _set(line: str) -> str:
    return f"set `{line}` in its redis.conf, or run `redis-cli CONFIG SET {line}` and `redis-cli CONFIG REWRITE`"
