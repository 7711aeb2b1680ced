"""``ngpu bench``: load a workspace, and print percentiles, errors by kind and throughput."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx

from ngpu.cli.customer import SECONDS, call_options, client_errors, key_option, read_data
from ngpu.cli.exits import Exit, Failed
from ngpu.cli.finding import show_json
from ngpu.cli.load import Call, Tally, load
from ngpu.cli.table import seconds_in_words, table
from ngpu.client import AsyncClient, Refused

TELL_EVERY = 0.5
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class Plan:
    """What is called how."""

    mode: str
    method: str
    sent: Any
    choices: Mapping[str, Any]


@click.command()
@click.argument("url")
@key_option
@call_options
@click.option("-c", "--connections", default=8, show_default=True, type=click.IntRange(1, 1000), help="Calls at once.")
@click.option("-t", "--duration", type=SECONDS, help="Go on for so long.  [10s, where --number is not given]")
@click.option("-n", "--number", type=click.IntRange(1), help="Make so many calls.")
@click.option(
    "--mode",
    type=click.Choice(("sync", "task", "raw")),
    default="sync",
    show_default=True,
    help="Calls that wait for their result; tasks, from submission to result; or requests straight to the worker.",
)
@click.option("--method", default="GET", show_default=True, help="Of raw requests.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(
    url: str,
    key: str,
    data: str,
    images: tuple[Path, ...],
    image_key: str,
    address: str,
    connections: int,
    duration: float | None,
    number: int | None,
    mode: str,
    method: str,
    as_json: bool,
    **named: Any,
) -> None:
    """Load a workspace of the gateway at URL, and print percentiles of the time that calls took, errors and throughput.

    It is real work for the workspace's replicas, and makes real records. One process of Python makes the calls: near a
    thousand calls a second it is itself what is measured, and `make bench` of the sources has better tools.

    Exits with 0 when every call came about, with 1 when one did not, with 3 when no gateway answers at all.
    """
    if duration is not None and number is not None:
        raise click.UsageError("either --duration or --number, not both")
    if duration == 0:
        raise click.UsageError("--duration is more than 0")
    if mode == "raw" and named["app"]:
        raise click.UsageError("apps take no raw requests: name a --path")
    sent, kind = read_data(data, images, image_key)
    choices = {name: value for name, value in named.items() if value}
    choices |= {"content_type": kind, **({"btc_address": address} if address else {})}
    plan = Plan(mode, method, sent, choices)
    tally = Tally()
    limit = 10.0 if duration is None and number is None else duration
    interrupted = False
    try:
        with client_errors():
            asyncio.run(_run(url, key, plan, connections, tally, limit, number))
    except KeyboardInterrupt:
        interrupted = True
        click.echo(err=True)
    report = tally.report()
    show_json({"mode": mode, "connections": connections, **report}) if as_json else click.echo(
        _text(report, connections)
    )
    if interrupted:
        raise SystemExit(Exit.INTERRUPTED)
    if report["errors"]:
        raise Failed(f"{tally.errors.total()} of {tally.calls} calls did not come about")


async def _run(
    url: str, key: str, plan: Plan, connections: int, tally: Tally, duration: float | None, number: int | None
) -> None:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with AsyncClient(url, key, retries=0, limits=limits) as client:
        call = _call(client, plan)
        with suppress(Refused):  # which the report tells, as it tells of those that follow
            await client.query("is-there-a-gateway")
        telling = asyncio.create_task(_tell(tally, duration, number))
        try:
            await load(call, connections, tally, duration, number)
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling


def _call(client: AsyncClient, plan: Plan) -> Call:
    choices: Any = plan.choices

    async def sync() -> None:
        (await client.call(plan.sent, **choices)).value()

    async def task() -> None:
        (await client.wait(await client.submit(plan.sent, **choices))).value()

    async def raw() -> None:
        body = {"json": plan.sent} if isinstance(plan.sent, dict) else {"content": plan.sent}
        reply = await client.raw(plan.method, plan.choices.get("path", ""), port=plan.choices.get("port"), **body)
        if not reply.is_success:
            raise Refused("", reply.status_code)

    return {"sync": sync, "task": task, "raw": raw}[plan.mode]


async def _tell(tally: Tally, duration: float | None, number: int | None) -> None:
    """Live progress, on a terminal only."""
    if not sys.stderr.isatty():
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    loop = asyncio.get_running_loop()
    began = loop.time()
    columns = (BarColumn(), TextColumn("{task.fields[word]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        bar = progress.add_task("", total=number or duration, word="")
        while True:
            await asyncio.sleep(TELL_EVERY)
            took = loop.time() - began
            failed = f", {tally.errors.total()} failed" if tally.errors else ""
            word = f"{tally.calls} calls, {len(tally.seconds) / took:.1f} a second{failed}"
            progress.update(bar, completed=tally.calls if number else took, word=word, refresh=True)


def _text(report: Mapping[str, Any], connections: int) -> str:
    head = f"{report['calls']} calls over {connections} connections in {seconds_in_words(report['seconds'])}"
    parts = [f"{head}: {report['per_second']:g} a second came about"]
    if report["milliseconds"]:
        parts.append(
            table(("TIME", "MILLISECONDS"), [(name, f"{ms:g}") for name, ms in report["milliseconds"].items()])
        )
    if report["errors"]:
        parts.append(table(("CALLS", "ERROR"), [(str(count), kind) for kind, count in report["errors"].items()]))
    return "\n\n".join(parts)
