"""What ``bench/compare.py`` says: medians, ratios turn by turn, a table, and what became worse since another run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dot_plot import Panel, draw

Runs = dict[str, list[dict[str, dict[str, float]]]]
Table = dict[str, dict[str, float]]
REGRESSION = 0.15
COLUMNS = {"c1.p50_ms": "p50 at 1", "c1.p99_ms": "p99 at 1"}
COLUMNS |= {f"c32.{key}": f"{title} at 32" for key, title in (("per_second", "req/s"), ("cpu_us", "µs"))}
COLUMNS |= {"c32.p50_ms": "p50 at 32", "c32.p99_ms": "p99 at 32", "c256.cpu_us": "µs at 256"}
COLUMNS |= {"c256.p50_ms": "p50 at 256", "c256.p99_ms": "p99 at 256"}
COLUMNS |= {"down.mb_per_cpu_second": "MB/CPU-s down", "up.mb_per_cpu_second": "MB/CPU-s up"}
COLUMNS |= {"down.growth_mb": "MB more, down", "up.growth_mb": "MB more, up", "idle.kb_each": "KB a connection"}
COMPARED = {
    "c1.cpu_us": -1,
    "c32.cpu_us": -1,
    "c256.cpu_us": -1,
    "down.mb_per_cpu_second": 1,
    "up.mb_per_cpu_second": 1,
}
"""What is put into ratios, and whether more of it is better (1) or worse (-1)."""


def medians(runs: Runs) -> Table:
    """Of each server each number, as ``load.number``, over the turns that have it."""
    table: Table = {}
    for name, turns in runs.items():
        keys = dict.fromkeys(f"{load}.{key}" for turn in turns for load, values in turn.items() for key in values)
        table[name] = {key: round(statistics.median(_values(turns, key)), 2) for key in keys}
    return table


def ratios(runs: Runs) -> Table:
    """How many times better ngpu is than each other server (above 1: better): the median over the turns."""
    table: Table = {}
    for name, turns in runs.items():
        row = {}
        for key, sign in COMPARED.items():
            load, number = key.split(".")
            pairs = zip(runs["ngpu"], turns, strict=True)
            both = [(a[load][number], b[load][number]) for a, b in pairs if load in a and load in b]
            if name != "ngpu" and both:
                row[key] = round(statistics.median((ours / other) ** sign for ours, other in both), 3)
        table[name] = row
    return {name: row for name, row in table.items() if row}


def markdown(table: Table, columns: dict[str, str]) -> str:
    """A table; a dash stands where nothing was measured."""
    lines = ["| | " + " | ".join(columns.values()) + " |", "| --- |" + " --: |" * len(columns)]
    for name, row in table.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[key]:g}" if key in row else "–" for key in columns) + " |")
    return "\n".join(lines)


def text(runs: Runs) -> str:
    """Both tables."""
    titles = {key: key.replace(".cpu_us", " µs").replace(".mb_per_cpu_second", " MB/CPU-s") for key in COMPARED}
    ours = "ngpu against each (above 1: ngpu is better)"
    return f"{markdown(medians(runs), COLUMNS)}\n\n{ours}\n\n{markdown(ratios(runs), titles)}"


def picture(runs: Runs) -> str:
    """Processor time of a request at each server, as SVG: the median of the turns, and the least and most."""

    def values(turns: list[dict[str, Any]], load: str) -> tuple[float, float, float] | None:
        found = _values(turns, f"{load}.cpu_us")
        return (statistics.median(found), min(found), max(found)) if found else None

    panels = [
        Panel("", f"{load[1:]} connections", [values(turns, load) for turns in runs.values()])
        for load in ("c1", "c32", "c256")
    ]
    caption = "Processor time of a request in µs (median of the turns, with the least and most)"
    return draw(caption, list(runs), panels, len(panels))


def last(folder: Path, committed: list[str]) -> Path | None:
    """The newest of the committed runs; they are named by their dates."""
    files = sorted(folder / name for name in committed if name.endswith(".json"))
    return files[-1] if files else None


def regressions(runs: Runs, before: Path) -> Iterator[str]:
    """A line for each ratio that is more than ``REGRESSION`` below that of the other run."""
    old = ratios(json.loads(before.read_text())["runs"])
    for name, row in ratios(runs).items():
        for key, value in row.items():
            was = old.get(name, {}).get(key)
            if was and value < was * (1 - REGRESSION):
                yield f"{key} against {name}: {value:.2f}, was {was:.2f} ({value / was - 1:+.0%})"


def _values(turns: list[dict[str, Any]], key: str) -> list[float]:
    load, number = key.split(".")
    return [turn[load][number] for turn in turns if number in turn.get(load, {})]
