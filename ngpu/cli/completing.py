"""``ngpu completion``: what a shell has to know to complete commands, options, and names that a gateway knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
import httpx
from click.shell_completion import CompletionItem, get_completion_class

from ngpu.cli.admin import AdminApi
from ngpu.cli.finding import CONFIG, found

PATIENCE = httpx.Timeout(1.0, connect=0.3)
"""Seconds for which somebody at a terminal waits for names."""

TASKS = 30
"""Tasks that are offered, the newest ones."""

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_NGPU_COMPLETE"

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what SHELL has to read to complete the commands of ngpu.

    \b
    bash:  ngpu completion bash > ~/.local/share/bash-completion/completions/ngpu
    zsh:   ngpu completion zsh > ~/.zfunc/_ngpu        (with fpath+=~/.zfunc before compinit)
    fish:  ngpu completion fish > ~/.config/fish/completions/ngpu.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "ngpu", _VARIABLE).source())


def _named(names: Callable[[AdminApi], Iterable[tuple[str, str]]]) -> Complete:
    """Completes by what a gateway tells; by nothing where it does not answer at once.

    :param names: each with a word that helps to tell it from others.
    """

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        given = context.params
        try:
            where = found(given.get("config") or Path(CONFIG), given.get("admin"), given.get("token_file"))
            known = list(names(AdminApi(*where, patience=PATIENCE)))
        except (click.ClickException, LookupError, TypeError):
            return []
        return [CompletionItem(name, help=words) for name, words in known if name.startswith(incomplete)]

    return complete


nodes = _named(lambda api: [(each["address"], each["host"]) for each in api.get("nodes")["nodes"]])
workspaces = _named(lambda api: [(each["id"], each["name"]) for each in api.get("workspaces")["workspaces"]])
tasks = _named(lambda api: [(each["id"], each["status"]) for each in api.get("tasks", limit=TASKS)["tasks"]])
