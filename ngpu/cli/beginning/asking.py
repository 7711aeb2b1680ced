"""The questions, each with what is taken where one only presses Enter."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import click

from ngpu.cli.beginning.answers import WHERE, Answers

WHERE_EXAMPLE = "127.0.0.1:18080"
_ENGINE = re.compile(r"([a-z][a-z0-9_]*\+)?(unix|tcp|ssh)://\S+")


def ask(given: Mapping[str, Any]) -> Answers:
    """Ask for what is not given yet."""
    known = dict(given)
    default = Answers()

    def question(name: str, words: str, **how: Any) -> None:
        if name not in known:
            known[name] = click.prompt(words, default=getattr(default, name), err=True, **how)

    question("listen", "Where do customers call? (*:8080 is every address of this machine)", type=WHERE)
    question("admin", "Where is the admin listener? (never on a public address)", type=WHERE)
    question(
        "store", "Where are tasks kept? sqlite, or the URL of a Redis that several gateways share", value_proc=store
    )
    question("name", "What is the first workspace called?", value_proc=name)
    if not known.get("workers") and not known.get("image"):
        runs = click.confirm("Do its workers run already? (no: ngpu deploys a Docker image)", default=True, err=True)
        if runs:
            known["workers"] = _several(
                "A worker's HOST:PORT", lambda text: WHERE.convert(text, None, None), WHERE_EXAMPLE
            )
        else:
            known["image"] = click.prompt("Its image, such as registry.example/sd-webui:1", type=str, err=True)
    if known.get("image"):
        if not known.get("engines"):
            known["engines"] = _several("A Docker engine", engine, "unix:///run/docker.sock")
        question("port", "Which port does the program in the container listen on?", type=click.IntRange(1, 65535))
        question("gpus", "How many GPUs has each of these machines?", type=click.IntRange(0, 64))
        question("replicas", "How many copies are to run?", type=click.IntRange(0, 10_000))
    question("health", "Which path of a worker answers 200 while it is well?", value_proc=path)
    return Answers(**known)


def _several(words: str, read: Callable[[str], Any], example: str) -> tuple[Any, ...]:
    """As many as are named; an empty answer ends it."""
    found = [click.prompt(f"{words}", default=example, value_proc=read, err=True)]
    while True:
        more = click.prompt("Another one? (Enter: no)", default="", show_default=False, err=True)
        if not more.strip():
            return tuple(found)
        try:
            found.append(read(more.strip()))
        except click.UsageError as error:
            click.echo(f"Error: {error.message}", err=True)


def store(text: str) -> str:
    """Where tasks are kept."""
    if text != "sqlite" and not re.fullmatch(r"(redis|rediss|unix)://\S+", text):
        raise click.BadParameter("it is sqlite, or such as redis://127.0.0.1:6379/0")
    return text


def engine(text: str) -> str:
    """Where a Docker engine is."""
    if not _ENGINE.fullmatch(text):
        raise click.BadParameter("it is such as unix:///run/docker.sock, tcp://host:2376 or ssh://user@host")
    return text


def path(text: str) -> str:
    """A path of a worker."""
    if not re.fullmatch(r"/[!-~]*", text):
        raise click.BadParameter("it begins with '/'")
    return text


def name(text: str) -> str:
    """What a workspace is called."""
    if not text.strip() or not text.isprintable():
        raise click.BadParameter("it is of letters that can be printed")
    return text.strip()
