"""Whether a Redis is fit to keep tasks: what `greeting` insists on, and what else a careful operator would ask."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from ngpu.examining import Finding, Level
from ngpu.stores.redis.address import Address
from ngpu.stores.redis.greeting import Unfit, greet, objections, parsed
from ngpu.stores.redis.link import reason_of
from ngpu.stores.redis.wire import Refused, Wire, WireFactory, said

SKEW = 1.0
"""Seconds by which the clocks may differ."""

NEARLY_FULL = 0.8
"""The part of its memory that may be used."""

_SYNC = {
    "always": (Level.OK, "each write is on the disk before it is answered", ""),
    "everysec": (
        Level.OK,
        "a machine that loses its power loses up to two seconds of writes, and a Redis that is killed loses what it "
        "had answered while its disk was busy",
        "",
    ),
    "no": (
        Level.PROBLEM,
        "the kernel decides when writes go to the disk, up to half a minute late",
        "set appendfsync everysec",
    ),
}


async def examine(
    endpoint: IStreamClientEndpoint, address: Address, prefix: str, reactor: IReactorTime, timeout: float
) -> Sequence[Finding]:
    """See ``IExaminable.examine``."""
    asking = Deferred.fromCoroutine(_asked(endpoint, address, prefix)).addTimeout(timeout, reactor)
    try:
        return await asking
    except Exception as error:  # whatever TCP, TLS or Redis makes of it, and no answer at all
        advice = "start it, or correct store.url; see also its password and its firewall"
        return [Finding(Level.PROBLEM, "Redis", f"Redis at {address} {reason_of(error)}", advice)]


async def _asked(endpoint: IStreamClientEndpoint, address: Address, prefix: str) -> list[Finding]:
    wire: Any = await endpoint.connect(WireFactory())
    try:
        found: list[Finding] = []
        try:
            await greet(wire, address, prefix)
        except Unfit as error:
            found.append(Finding(Level.PROBLEM, "Redis", f"Redis at {address} {error}", _first(error)))
        info = await _info(wire)
        if info is None:
            return found
        told = {finding.words for finding in found}
        for message, _ in objections(info, bool(address.sentinels)):
            words = f"Redis at {address} {message}"
            if words not in told:
                found.append(Finding(Level.PROBLEM, "Redis", words, message.partition(": ")[2]))
        if not found:
            found.append(Finding(Level.OK, "Redis", f"Redis {info.get('redis_version', '')} at {address} answers"))
        found += _condition(info)
        found.append(await _sync(wire))
        found += await _clocks(wire)
        return found
    finally:
        wire.cut()


def _first(error: Unfit) -> str:
    return str(error).partition(": ")[2]


async def _info(wire: Wire) -> Mapping[str, str] | None:
    try:
        return parsed(await wire.execute_command("INFO"))
    except Refused:
        return None  # greet has said so


def _condition(info: Mapping[str, str]) -> Iterator[Finding]:
    """What passes: its memory, its last write."""
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if most:
        full = used > NEARLY_FULL * most
        advice = (
            "raise maxmemory, or shorten the retention of workspaces: a full Redis takes no more tasks" if full else ""
        )
        words = f"{used >> 20} of its {most >> 20} MiB are used"
        yield Finding(Level.WARNING if full else Level.OK, "Redis memory", words, advice)
    if info.get("aof_enabled") == "1" and info.get("aof_last_write_status", "ok") != "ok":
        yield Finding(
            Level.PROBLEM, "Redis disk", "its last write to its file failed", "look into its log; is its disk full?"
        )


async def _sync(wire: Wire) -> Finding:
    try:
        reply = await wire.execute_command("CONFIG", "GET", "appendfsync")
        setting = reply[1].decode("ascii", "replace")
        level, words, advice = _SYNC[setting]
    except (Refused, LookupError, AttributeError) as error:
        why = said(error) if isinstance(error, Refused) else "it is not said"
        advice = "see that its configuration has appendfsync everysec, or always"
        return Finding(Level.WARNING, "Redis appendfsync", f"nobody here may know it ({why})", advice)
    return Finding(level, "Redis appendfsync", f"{setting}: {words}", advice)


async def _clocks(wire: Wire) -> list[Finding]:
    before = time.time()
    try:
        seconds, micros = await wire.execute_command("TIME")
    except Refused:
        return []
    after = time.time()
    theirs = int(seconds) + int(micros) / 1e6
    skew = 0.0 if before <= theirs <= after else min(theirs - before, theirs - after, key=abs)
    words = f"its clock and this one differ by {abs(skew):.3f} s" if skew else "its clock and this one agree"
    far = abs(skew) > SKEW
    advice = (
        "have both synchronised (chrony, systemd-timesyncd): records and ends of waiting go by clocks" if far else ""
    )
    return [Finding(Level.WARNING if far else Level.OK, "Redis clock", words, advice)]
