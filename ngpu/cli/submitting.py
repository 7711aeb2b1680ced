"""``ngpu submit`` and ``wait``: a customer's task, from its submission to its result in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ngpu.cli.aside import aside
from ngpu.cli.customer import SECONDS, call_options, client_errors, key_option, read_data, url_option
from ngpu.cli.exits import Failed
from ngpu.cli.finding import show_json
from ngpu.cli.result import put_result, see_place_for
from ngpu.cli.table import plain, seconds_in_words
from ngpu.client import Client, Refused, Task, Unreachable

_output = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file for the result. Where its name is that of a picture (.png …), the picture in the result is written.",
)
_timeout = click.option("--timeout", type=SECONDS, help="Wait so long at most; the task goes on.")
_json = click.option("--json", "as_json", is_flag=True, help="Print the task as JSON, its result in it.")


@click.command()
@url_option
@key_option
@call_options
@click.option(
    "--sync", is_flag=True, help="Wait for the result on the same connection: the quickest way for short work."
)
@click.option("--wait", "waits", is_flag=True, help="Submit a task, then wait for its result, also over restarts.")
@_timeout
@_output
@click.option("--ttl", type=SECONDS, help="How long it may wait in the queue.")
@click.option("--task-timeout", type=SECONDS, help="How long it may run.")
@click.option("--priority", type=click.Choice(("low", "normal", "high")), help="Beside the workspace's other tasks.")
@click.option("--webhook", help="An https URL that is told of its end.")
@click.option("--idempotency-key", help="The same one, with the same data, gives the same task.")
@_json
def submit(
    url: str,
    key: str,
    data: str,
    images: tuple[Path, ...],
    image_key: str,
    sync: bool,
    waits: bool,
    timeout: float | None,
    output: Path | None,
    as_json: bool,
    **named: Any,
) -> None:
    """Submit a task to a workspace; prints its id, or with --sync or --wait its result.

    Exits with 0 when it was taken in, or has its result; with 1 when it failed, with 5 after --timeout.
    """
    if sync and timeout is not None:
        raise click.UsageError("--timeout is for --wait: a call with --sync ends with its connection")
    if not (sync or waits) and (output is not None or timeout is not None):
        raise click.UsageError("there is no result to wait for or to write without --sync or --wait")
    sent, kind = read_data(data, images, image_key)
    names = {"address": "btc_address", "task_timeout": "timeout"}
    choices: Any = {names.get(name, name): value for name, value in named.items() if value is not None}
    choices["content_type"] = kind
    see_place_for(output)
    with client_errors(), Client(url, key) as client:
        if sync:
            task = client.call(sent, **choices)
        else:
            task = client.submit(sent, **choices)
            if waits:
                with _named(task):
                    task = _waited(client, task, timeout)
        if sync or waits:
            _ended(task, output, as_json)
        elif as_json:
            show_json(asdict(task))
        else:
            click.echo(task.id)


@click.command()
@click.argument("task")
@url_option
@key_option
@_timeout
@_output
@_json
def wait(task: str, url: str, key: str, timeout: float | None, output: Path | None, as_json: bool) -> None:
    """Wait for the end of TASK (its id), and print its result, or write it to a file.

    How it stands is shown meanwhile. Moments in which the gateway is away are waited out.

    Exits with 0 when there is a result, with 1 when it failed, with 5 when it takes longer than --timeout.
    """
    if not task:
        raise click.UsageError("TASK is empty: is a variable of the shell not set?")
    see_place_for(output)
    with client_errors(), Client(url, key) as client:
        _ended(_waited(client, task, timeout), output, as_json)


def _waited(client: Client, task: Task | str, timeout: float | None) -> Task:
    with _standing() as tell:
        return client.wait(task, timeout, tell)


def _ended(task: Task, output: Path | None, as_json: bool) -> None:
    if as_json and output is None:
        document = asdict(task)
        if isinstance(task.data, bytes):
            document["data"] = task.data.hex()
            document["data_encoding"] = "hex"
        show_json(document)
        task.value()
    elif as_json:
        _put(task, output)
        show_json({**asdict(task), "data": None})
    else:
        _put(task, output)


def _put(task: Task, output: Path | None) -> None:
    value = task.value()
    try:
        put_result(value, output)
    except Failed as error:
        raise Failed(f"{error.message}; the result is that of the task {task.id}") from None


@contextmanager
def _named(task: Task) -> Iterator[None]:
    """Whoever stops waiting is told which task goes on: nothing else has named it yet."""
    try:
        yield
    except (KeyboardInterrupt, Refused, Unreachable):
        aside(f"the task goes on: {task.id}")
        raise


@contextmanager
def _standing() -> Iterator[Any]:
    """Tells on standard error how a task stands: a terminal on one line, anything else with a line for each change."""
    terminal = sys.stderr.isatty()
    last = ""

    def tell(task: Task) -> None:
        nonlocal last
        words = _words(task)
        if words != last:
            aside(f"\r\x1b[K{words}" if terminal else words, nl=not terminal)
        last = words

    try:
        yield tell
    finally:
        if terminal and last:
            aside("\r\x1b[K", nl=False)


def _words(task: Task) -> str:
    place = f", place {task.queue_position}" if task.queue_position else ""
    wait = f", about {seconds_in_words(task.wait_estimate)} to wait" if task.wait_estimate else ""
    progress = f", {task.progress}" if task.progress else ""
    return plain(f"{task.status}{place}{wait}{progress}")
