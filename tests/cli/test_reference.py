"""docs/cli.md is what the commands say, codes are those of its table, and shells complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from command_rig import NODE, WORKSPACE, CommandRig, typed
from processes import ROOT

from ngpu.cli import main
from ngpu.cli.exits import MEANINGS, Exit

PAGE = ROOT / "docs" / "cli.md"


def paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, as it is typed."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command, **main.context_settings)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from paths(below, (*path, name))


def test_the_page_is_what_the_commands_say() -> None:
    done = subprocess.run(
        [sys.executable, "tools/cli_reference.py"], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
    )
    assert done.stdout.split() == PAGE.read_text().split(), "python tools/cli_reference.py > docs/cli.md"


def test_every_command_has_help_and_a_section_of_the_page() -> None:
    page = PAGE.read_text()
    known = list(paths(main))
    assert len(known) >= 30
    for path in known:
        for option in ("-h", "--help"):
            done = typed(*path, option)
            assert done.code == 0 and done.out.startswith(f"Usage: {' '.join(['ngpu', *path])} "), path
        assert not path or f"### `ngpu {' '.join(path)}`\n" in page, path


def test_codes_are_those_of_the_table_and_no_others() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert {int(code): words for code, words in rows} == {int(code): words for code, words in MEANINGS.items()}
    assert set(MEANINGS) == set(Exit)
    for file in (ROOT / "ngpu" / "cli").rglob("*.py"):
        for raised in re.findall(r"SystemExit\(([^)]*)\)|exit_code = (\S+)", file.read_text()):
            assert "".join(raised).startswith("Exit."), file


def test_what_is_typed_wrongly_is_said_in_a_sentence() -> None:
    for arguments in (("statsu",), ("tasks", "--lmit", "3"), ("drain",), ("tasks", "-n", "none")):
        done = typed(*arguments)
        assert done.code == 2 and done.err.startswith("Usage: ngpu") and "Traceback" not in done.err


SHELLS = {"bash": ("bash", "-n"), "zsh": ("zsh", "-n"), "fish": ("fish", "--no-execute")}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_what_it_is_to_read(shell: str, tmp_path: Path) -> None:
    script = tmp_path / f"ngpu.{shell}"
    script.write_text(typed("completion", shell).out)
    assert "_NGPU_COMPLETE" in script.read_text()
    if shutil.which(shell) is not None:  # else it is only seen that there is one
        subprocess.run([*SHELLS[shell], str(script)], check=True, timeout=30)


def completed(source: Path, *words: str, config: str = "") -> list[str]:
    """What bash offers for the last word, once it has read the source."""
    ngpu = Path(sys.executable).parent / "ngpu"
    typed_words = " ".join(f"'{word}'" for word in ("ngpu", *words))
    script = (
        f'source "{source}"; COMP_WORDS=({typed_words}); COMP_CWORD={len(words)}; '
        f'_ngpu_completion "{ngpu}"; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={"NGPU_CONFIG": config, "PATH": "/usr/bin:/bin"},
    )
    assert done.stderr == "", done.stderr
    return done.stdout.split()


def test_bash_completes_commands_options_and_what_the_gateway_knows(rig: CommandRig, tmp_path: Path) -> None:
    source = tmp_path / "ngpu.bash"
    source.write_text(typed("completion", "bash").out)
    assert completed(source, "un") == ["undeploy", "undrain"]
    assert completed(source, "drain", "0x7", config=rig.config) == [NODE]
    assert completed(source, "deploy", "4", config=rig.config) == [WORKSPACE]
    assert completed(source, "drain", "", config="/does/not/exist") == []
