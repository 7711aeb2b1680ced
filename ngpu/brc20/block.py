"""The options that every source has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ngpu import options as read
from ngpu.brc20.breaker import Breaker
from ngpu.brc20.checker import LONGEST_CHECK
from ngpu.brc20.rate import Rate
from ngpu.brc20.source import Source
from ngpu.interfaces import Option, PluginContext

DAY = 86400.0


def source_options(url: str, rate: Mapping[str, int] | None = None) -> tuple[Option, ...]:
    """The options, for `ngpu plugins`.

    :param url: its default, "" for none.
    :param rate: its default.
    """
    return (
        Option("url", "where the source is, without the path that the checker adds", url or None, "URL"),
        Option("timeout", f"how long one request may take, at most {LONGEST_CHECK:g}s", "3s", "duration"),
        Option("rate", "how often it may be asked: {per_second: n, per_day: n}, none for a limit left out", rate or {}),
        Option(
            "breaker",
            "after how many failures in a row it is left alone, and for how long: {failures: n, rest: 30s}",
            {"failures": 5, "rest": "30s"},
        ),
    )


def make_source(
    name: str,
    options: Mapping[str, Any],
    context: PluginContext,
    declared: Sequence[Option],
    headers: Mapping[str, str] | None = None,
) -> Source:
    """The source that a block describes.

    :param declared: what `source_options` gave, for its defaults.
    :param headers: of every request.
    :raises ConfigError: with the option's path.
    """
    defaults = {option.name: option.default for option in declared}
    return Source(
        name,
        read.base_url(options, "url", defaults["url"] or ""),
        headers or {},
        read.duration(options, "timeout", "3s", most=LONGEST_CHECK),
        _rate({"rate": defaults["rate"], **options}),
        _breaker(options),
        context.fetcher,
        context.clock,
    )


def _rate(options: Mapping[str, Any]) -> Rate:
    block = read.block(options, "rate", ("per_second", "per_day"))
    with read.within("rate"):
        second = read.number(block, "per_second", 10_000)
        day = read.whole(block, "per_day", 0, 1, 1_000_000) if "per_day" in block else None
    windows = [] if day is None else [(day, DAY)]
    if second is not None:
        count = int(second)
        windows.append((count, float(count / second)) if count else (1, float(1 / second)))
    return Rate(windows)


def _breaker(options: Mapping[str, Any]) -> Breaker:
    block = read.block(options, "breaker", ("failures", "rest"))
    with read.within("breaker"):
        return Breaker(read.whole(block, "failures", 5, 1, 1000), read.duration(block, "rest", "30s", most=3600))
