"""``ngpu reload``: have a gateway read its configuration anew, and see what becomes of it."""

from __future__ import annotations

import time
from typing import Any

import click

from ngpu.cli.admin import AdminApi
from ngpu.cli.customer import SECONDS
from ngpu.cli.exits import Failed, Refused, Unfinished, Unreachable
from ngpu.cli.finding import admin_command, json_option, show_json

LOOK_EVERY = 0.2
"""Seconds between two looks."""


@click.command()
@click.option("--timeout", type=SECONDS, default="2m", show_default=True, help="Wait so long at most for the outcome.")
@json_option
@admin_command
def reload(api: AdminApi, as_json: bool, timeout: float) -> None:
    """Have the gateway read its configuration file anew, as SIGHUP does, and say whether it took effect, or why not.

    Where something is wrong with the file, or a listener cannot be opened, nothing changes. No call is lost.

    Exits with 0 when the new configuration serves, with 1 when nothing was changed, with 5 after --timeout.
    """
    before = api.send("POST", "reload")
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        time.sleep(LOOK_EVERY)
        now = _look(api)
        if now is None:
            continue
        if now["generation"] != before["generation"]:
            show_json(now) if as_json else click.echo("the configuration that is in the file now serves")
            return
        if now["refusals"] != before["refusals"]:
            if as_json:
                show_json(now)
            raise Failed(f"nothing was changed: {now['reason']}")
    raise Unfinished(f"no word of the reload after {timeout:g} s: the gateway's log tells how it goes on")


def _look(api: AdminApi) -> dict[str, Any] | None:
    """How it stands; ``None`` while one process takes the other's place."""
    try:
        return api.get("reload")
    except Unreachable:
        return None
    except Refused as error:
        if error.lasting:
            raise
        return None
