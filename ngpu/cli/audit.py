"""``ngpu audit``: whether a store keeps its invariants."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import click

from ngpu.cli.admin import AdminApi
from ngpu.cli.exits import Failed
from ngpu.cli.finding import admin_command, json_option, show_json
from ngpu.cli.number import Number
from ngpu.cli.table import table

STATUSES = ("queued", "running", "finished", "failed", "cancelled", "expired")
MOST_SHOWN = 50

Key = tuple[str, str]


@dataclass
class Look:
    """What one look at the whole store has found."""

    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    accepted: Counter[str] = field(default_factory=Counter)
    findings: dict[Key, dict[str, Any]] = field(default_factory=dict)


@click.command()
@click.option(
    "--wait",
    default=15.0,
    show_default=True,
    type=Number(0, 3600),
    help="Seconds until the second look, which is taken where the first one found anything; more than the lease.",
)
@json_option
@admin_command
def audit(api: AdminApi, as_json: bool, wait: float) -> None:
    """Look over the task store of a running gateway: is each task accounted for, once, and is none stuck?

    For each workspace, accepted = queued + running + finished + failed + cancelled + expired; each record agrees with
    every index; no task has outlasted its timeout, waits beside idle replicas or is left by a gateway that is gone.
    Nothing is changed. What may be on its way at the moment of a look counts only if a second look finds it again.

    Exits with 0 when all is well, with 1 when it is not.
    """
    look = _look(api)
    if look.findings:
        time.sleep(wait)
        again = _look(api)
        again.findings = {
            key: finding for key, finding in again.findings.items() if finding["lasting"] or key in look.findings
        }
        look = again
    findings = [{"rule": each["rule"], "subject": each["subject"], "words": each["words"]} for each in _all(look)]
    if as_json:
        show_json({"workspaces": {name: _row(look, name) for name in sorted(look.counts)}, "findings": findings})
    else:
        rows = [(name, *(str(value) for value in _row(look, name).values())) for name in sorted(look.counts)]
        click.echo(table(("WORKSPACE", "ACCEPTED", *(status.upper() for status in STATUSES)), rows))
        for each in findings[:MOST_SHOWN]:
            click.echo(f"{each['rule']}: {each['subject']} {each['words']}")
        if len(findings) > MOST_SHOWN:
            click.echo(f"and {len(findings) - MOST_SHOWN} more; --json shows all")
    if findings:
        raise Failed(f"{len(findings)} findings")
    if not as_json:
        click.echo("all is well")


def _look(api: AdminApi) -> Look:
    look = Look()
    cursor: dict[str, str] = {}
    while True:
        page = api.get("audit", **cursor)
        for workspace, counts in page["counts"].items():
            look.counts[workspace].update(counts)
        look.accepted.update(page["accepted"])
        for finding in page["findings"]:
            # of what may pass, the words change from look to look: so many seconds
            what = finding["words"] if finding["lasting"] else ""
            look.findings[finding["rule"], f"{finding['subject']} {what}"] = finding
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}
    for workspace in look.counts.keys() | look.accepted.keys():
        found, accepted = look.counts[workspace].total(), look.accepted[workspace]
        if found != accepted:  # tasks come and go during a look; a difference that stays the same is one
            words = f"{accepted} tasks were accepted and not purged, and {found} are there"
            look.findings["sum", f"{workspace} {found - accepted}"] = {
                "rule": "sum",
                "subject": workspace,
                "words": words,
                "lasting": False,
            }
    return look


def _all(look: Look) -> list[dict[str, Any]]:
    return [look.findings[key] for key in sorted(look.findings)]


def _row(look: Look, workspace: str) -> dict[str, int]:
    counts = look.counts[workspace]
    return {"accepted": look.accepted[workspace], **{status: counts[status] for status in STATUSES}}
