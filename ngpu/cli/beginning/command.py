"""The command: answers in, a configuration that can be used out, and what to do next."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from twisted.internet import task

from ngpu.cli.beginning import asking
from ngpu.cli.beginning.answers import WHERE, Answers
from ngpu.cli.beginning.writing import text_of
from ngpu.cli.exits import Exit, Failed
from ngpu.errors import ConfigError
from ngpu.tap import check

INSTALLED, STATE = Path("/etc/ngpu"), "/var/lib/ngpu"
"""Where the unit looks for its configuration, which it may not write, and the folder that it may."""


def _checked(read: Any) -> Any:
    """A callback that reads what an option says with what reads the answer to a question."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(read(each) for each in value)
        return None if value is None else read(value)

    return callback


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=Path("ngpu.yaml"))
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: take the defaults for what no option says.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--listen", type=WHERE, help="Where customers call.  [127.0.0.1:8080]")
@click.option("--admin", type=WHERE, help="Where the admin listener is.  [127.0.0.1:8081]")
@click.option("--store", callback=_checked(asking.store), help="sqlite, or the URL of a Redis.  [sqlite]")
@click.option("--name", callback=_checked(asking.name), help="What the first workspace is called.  [first]")
@click.option(
    "--worker", "workers", type=WHERE, multiple=True, help="HOST:PORT of a worker that runs; several are possible."
)
@click.option("--image", help="The image that is deployed, in place of workers that run.")
@click.option(
    "--engine",
    "engines",
    multiple=True,
    callback=_checked(asking.engine),
    help="A Docker engine for it; several are possible.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="The port in the container.  [8080]")
@click.option("--gpus", type=click.IntRange(0, 64), help="GPUs of each of these machines.  [0]")
@click.option("--replicas", type=click.IntRange(0, 10_000), help="Copies that are to run.  [1]")
@click.option("--health", callback=_checked(asking.path), help="The path that answers while a worker is well.  [/]")
@click.option(
    "--key-file", type=click.Path(path_type=Path), help="Write the workspace's key there instead of showing it."
)
def init(file: Path, yes: bool, force: bool, key_file: Path | None, **options: Any) -> None:
    """Write a configuration to FILE (ngpu.yaml) by asking a few questions, with a workspace and its key.

    The key is shown once: the file has only its hash. A file that is there stays, unless you say otherwise.

    Exits with 0 when the file was written, with 1 when it was not, with 2 when what was said cannot be used.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if given.get("workers") and given.get("image"):
        raise click.UsageError("--worker names workers that run, --image what is deployed: choose one of them")
    if key_file is not None and key_file.absolute() == file.absolute():
        raise click.UsageError("the key and the configuration would be one file: name another one with --key-file")
    _may_write(file, yes, force)
    answers = _answers(given) if yes else asking.ask(given)
    text = text_of(answers, STATE if file.absolute().parent == INSTALLED else "var")
    try:
        check(file, task.Clock(), text)
    except ConfigError as error:
        click.echo(f"{error}\nnothing was written", err=True)
        raise SystemExit(Exit.USAGE) from None
    with _prepared(file, text) as put:
        if key_file is not None:
            _put_key(key_file, answers.key + "\n", force)
        put()
    click.echo(_next(file, answers, key_file))


def _answers(given: Mapping[str, Any]) -> Answers:
    if "workers" not in given and "image" not in given:
        given = {**given, "workers": (WHERE.convert(asking.WHERE_EXAMPLE, None, None),)}
    if "image" in given and "engines" not in given:
        given = {**given, "engines": ("unix:///run/docker.sock",)}
    return Answers(**given)


def _may_write(file: Path, yes: bool, force: bool) -> None:
    if not file.parent.is_dir():
        raise Failed(f"there is no folder {file.parent}")
    if file.exists() and not file.is_file():
        raise Failed(f"{file} is not a regular file, and was left as it is")
    if not file.exists() or force:
        return
    if yes:
        raise Failed(f"{file} is there already, and was left as it is; --force writes over it")
    if not click.confirm(f"{file} is there already. Write over it?", default=False, err=True):
        raise Failed(f"{file} was left as it is")


@contextmanager
def _prepared(file: Path, text: str) -> Iterator[Callable[[], object]]:
    """Write it beside its place, and give what puts it there, whole: with the owner and the rights of what was there;
    else those of the folder's group may read.

    Where it is a link, what it leads to is written.
    """
    whole = Path(os.path.realpath(file))
    before = whole.stat() if whole.exists() else None
    mode = 0o640 if before is None else stat.S_IMODE(before.st_mode)  # a Redis' URL may hold a password
    owner = (-1, whole.parent.stat().st_gid) if before is None else (before.st_uid, before.st_gid)
    partial = _partial(whole)
    try:
        _new_file(partial, text, mode, file)
        with suppress(PermissionError):  # one who is not root keeps it
            os.chown(partial, *owner)
        yield functools.partial(partial.replace, whole)
    finally:
        partial.unlink(missing_ok=True)


def _put_key(file: Path, text: str, force: bool) -> None:
    """Where there is one already, and is to go, it goes once the new one is written."""
    if not force:
        _new_file(file, text, 0o600, file)
        return
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise Failed(f"{file} is not a regular file, and was left as it is; nothing was written")
    partial = _partial(file)
    _new_file(partial, text, 0o600, file)
    partial.replace(file)


def _partial(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}")


def _new_file(file: Path, text: str, mode: int, shown: Path) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise Failed(f"{file} is there already, and was left as it is; nothing was written") from None
    except OSError as error:
        raise _unwritable(shown, error) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            os.fchmod(out.fileno(), mode)
            out.write(text)
    except OSError as error:
        file.unlink()
        raise _unwritable(shown, error) from None


def _unwritable(file: Path, error: OSError) -> Failed:
    return Failed(f"{file} cannot be written: {error.strerror}; nothing was written")


def _next(file: Path, answers: Answers, key_file: Path | None) -> str:
    whose = f"the key of the workspace {answers.name}"
    shown = f"{whose} is in {key_file}" if key_file else f"{whose}, which is shown this once: {answers.key}"
    key = f"$(cat {key_file})" if key_file else answers.key
    deploy = (
        f"\n  ngpu deploy {answers.name} -c {file}      # its copies come up, a bar for each node"
        if answers.image
        else ""
    )
    return f"""\
wrote {file}
{shown}

What to do next:
  ngpu doctor -c {file}      # is this host ready for it?
  ngpu run -c {file}         # start the gateway; systemd/ has a unit for it{deploy}
  export NGPU_URL={answers.listen.url} NGPU_KEY={key}
  ngpu submit --sync --path / -d '{{"prompt": "a cat"}}'"""
