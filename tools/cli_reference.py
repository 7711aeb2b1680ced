"""Write docs/cli.md: every command of `ngpu` with its options, out of the commands themselves.

`python tools/cli_reference.py > docs/cli.md`; a test sees that the page is current.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from ngpu.cli import main
from ngpu.cli.commands import SECTIONS
from ngpu.cli.exits import MEANINGS

HEAD = """\
# The `ngpu` command

This page is written by `tools/cli_reference.py` out of the commands themselves; `ngpu COMMAND -h` shows the same.

- **Commands of operators** find the gateway by its configuration file: `-c FILE`, or `NGPU_CONFIG`, which says where
  the admin listener and its token are; or by `--admin URL` with `--token-file FILE` (`NGPU_ADMIN`, `NGPU_TOKEN_FILE`).
- **Commands of customers** take `--url` and `--key`, or `NGPU_URL` and `NGPU_KEY`.
- `https:` gateways are vouched for by the usual authorities, or by those in the file that `SSL_CERT_FILE` names.
- Wherever a table is printed, `--json` prints the same for programs, and lists take `--watch`: a terminal shows the
  last look, a pipe gets each that differs from the one before.
- What is asked for goes to standard output; questions, progress and errors go to standard error. Colours and bars are
  for terminals only.
- Completion of commands, options, nodes, workspaces and tasks: `ngpu completion -h`.

## Exit codes
"""


def main_page() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield HEAD
    yield "| code | meaning |"
    yield "| --- | --- |"
    for code, meaning in MEANINGS.items():
        yield f"| {code.value} | {meaning} |"
    context = click.Context(main, info_name="ngpu", max_content_width=100, terminal_width=100)
    for section, names in SECTIONS.items():
        yield f"\n## {section}"
        for name in names:
            command = main.get_command(context, name)
            assert command is not None
            yield from _command(command, context, name)


def _command(command: click.Command, parent: click.Context, name: str) -> Iterator[str]:
    context = click.Context(command, parent=parent, info_name=name, max_content_width=100, terminal_width=100)
    context.help_option_names = ["-h", "--help"]
    yield f"\n### `{context.command_path}`\n"
    yield "```text"
    yield command.get_help(context)
    yield "```"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from _command(found, context, below)


if __name__ == "__main__":
    print(main_page(), end="")
