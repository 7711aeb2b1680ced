"""What commands of customers share: the gateway's URL, the key, what is sent, and how errors of the client end them."""

from __future__ import annotations

import base64
import json
import mimetypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from ngpu import client
from ngpu.cli import exits
from ngpu.cli.table import seconds_in_words

T = TypeVar("T")

URL = "http://127.0.0.1:8080"


class Seconds(click.ParamType[float]):
    """A length of time: 90, 90s, 5m, 2h, 1d."""

    name = "time"
    _UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See `click.ParamType.convert`."""
        if isinstance(value, int | float):
            return float(value)
        unit = next((each for each in self._UNITS if value.endswith(each)), "")
        try:
            seconds = float(value.removesuffix(unit)) * self._UNITS.get(unit, 1.0)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < 1e9:
            self.fail(f"{value!r} is no length of time, such as 90, 90s, 5m, 2h or 1d", param, ctx)
        return seconds


SECONDS = Seconds()

url_option = click.option(
    "--url", envvar="NGPU_URL", default=URL, show_default=True, help="Of the gateway's public listener."
)
key_option = click.option(
    "--key",
    envvar="NGPU_KEY",
    default="",
    help="The workspace's key, or its id where it has none. Better in NGPU_KEY, which lists of processes do not show.",
)


def call_options(command: Callable[..., T]) -> Callable[..., T]:
    """What is sent, and where to: ``app``, ``path``, ``port``, ``data``, ``images``, ``image_key``, ``address``."""
    options = (
        click.option("--app", default="", help="The app of the gateway, which knows path and port itself."),
        click.option("--path", help="The worker's path; by default the workspace's."),
        click.option("--port", type=click.IntRange(1, 65535), help="The port, as the workspace declares it."),
        click.option(
            "-d",
            "--data",
            default="",
            help="What is sent: JSON, or text; @FILE is what a file holds, @- standard input.",
        ),
        click.option(
            "--image",
            "images",
            multiple=True,
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="A picture that is added to the data, in base64; several are possible.",
        ),
        click.option(
            "--image-key", default="init_images", show_default=True, help="The list that pictures are added to."
        ),
        click.option("--address", default="", help="The Bitcoin address that the workspace's gate looks at."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def read_data(data: str, images: tuple[Path, ...], image_key: str) -> tuple[client.Submission, str]:
    """What is to be sent, and its content type where it is bytes.

    :raises click.UsageError: it cannot be read, or is nothing that pictures can be added to.
    """
    kind = "application/octet-stream"
    if data.startswith("@"):
        if data == "@":
            raise click.UsageError("@ names no file: @FILE is what a file holds, @- standard input")
        kind = mimetypes.guess_type(data)[0] or kind
        try:
            content = sys.stdin.buffer.read() if data == "@-" else Path(data[1:]).read_bytes()
        except (OSError, ValueError) as error:
            raise click.UsageError(f"{data[1:]} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    else:
        content = data.encode("utf-8", "surrogateescape")
    if images:
        found = json_object(content) if content else {}
        if found is None or not isinstance(found.setdefault(image_key, []), list):
            raise click.UsageError(f"pictures are added to a JSON object, to its list {image_key!r}: the data is none")
        for image in images:
            found[image_key].append(base64.b64encode(image.read_bytes()).decode())
        return found, kind
    found = json_object(content)
    if found is not None:
        return found, kind
    try:
        return content.decode("utf-8"), kind
    except UnicodeDecodeError:
        return content, kind


def json_object(content: bytes) -> dict[str, Any] | None:
    """What it holds, where that is a JSON object."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


@contextmanager
def client_errors() -> Iterator[None]:
    """Make of errors of the client those that end a command with a sentence and a code."""
    try:
        yield
    except client.StillRunning as error:
        raise exits.Unfinished(str(error)) from None
    except client.TaskFailed as error:
        raise exits.Failed(f"{error} ({error.task.code}), task {error.task.id}") from None
    except client.Refused as error:
        later = f"; try again in {seconds_in_words(error.retry_after)}" if error.retry_after else ""
        raise exits.Refused(f"{error}{later}", error.status < 500) from None
    except client.Unreachable as error:
        raise exits.Unreachable(
            f"{error}; is it running, and is this its public listener? Name another one with --url"
        ) from None
    except client.ClientError as error:
        raise exits.Misused(str(error)) from None
