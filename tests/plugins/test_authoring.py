"""`ngpu plugins new`: what it writes works as it stands, and what it refuses leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from processes import ROOT

from ngpu.cli import main

LONG = "a_name_of_forty_characters_is_just_right"


def new(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["plugins", "new", *map(str, arguments)])


def python(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)


CONFIG = {
    "selection": """
        nodes: [{{address: "0x73", host: 127.0.0.1}}]
        workspaces:
          - id: "1"
            ports: {{8080: 80}}
            upstream: [{{node: "0x73", ports: {{8080: 1}}}}]
            selection: {{policy: {name}}}
    """,
    "placement": """
        nodes: [{{address: "0x73", host: 127.0.0.1, engine: "unix:///run/docker.sock"}}]
        workspaces:
          - id: "1"
            ports: {{8080: 80}}
            image: {{reference: "registry.example/image:1"}}
            placement: {{policy: {name}, options: {{reserve: 2}}}}
    """,
    "checker": """
        gates: {{g: {{checker: {name}, options: {{url: "http://127.0.0.1:8000"}}, tickers: [AINN]}}}}
    """,
    "adapter": """
        nodes: [{{address: "0x73", host: 127.0.0.1}}]
        workspaces: [{{id: "1", ports: {{8080: 80}}, upstream: [{{node: "0x73", ports: {{8080: 1}}}}]}}]
        apps: {{a: {{adapter: {name}, workspace: "1", options: {{interval: 1s}}}}}}
    """,
}


@pytest.mark.parametrize("family", CONFIG)
def test_what_is_written_works_as_it_stands(family: str, tmp_path: Path) -> None:
    """Its test passes, `ngpu check` takes it, and `ngpu plugins` lists it."""
    folder = tmp_path / "mine"
    done = new(family, "my_own", "--into", folder)
    assert done.exit_code == 0, done.output
    plugin, test = folder / "my_own.py", folder / "tests" / "test_my_own.py"
    assert str(plugin) in done.output and str(test) in done.output
    assert len(plugin.read_text().splitlines()) < 60

    tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", test, cwd=tmp_path)
    assert tested.returncode == 0, tested.stdout
    config = tmp_path / "ngpu.yaml"
    config.write_text(CONFIG[family].format(name="my_own") + "\n        plugins: {path: [mine]}\n")
    checked = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert checked.exit_code == 0, checked.stderr
    listed = CliRunner().invoke(main, ["plugins", "-c", str(config)]).stdout
    assert [line for line in listed.splitlines() if line.split()[:3] == [family, "my_own", str(plugin)]]


@pytest.mark.parametrize("name", ["x", "my_own", LONG])
def test_what_is_written_has_no_fault_of_style_and_nothing_of_the_sketch(name: str, tmp_path: Path) -> None:
    for family in CONFIG:
        assert new(family, name, "--into", tmp_path / family).exit_code == 0
    files = list(tmp_path.rglob("*.py"))
    assert len(files) == 8 and not [file for file in files if "xample" in file.read_text()]
    for command in (("check",), ("format", "--check", "--diff")):
        ours = ("--config", ROOT / "pyproject.toml", "--config", 'lint.isort.known-first-party = ["ngpu"]')
        style = python("-m", "ruff", *command, "--no-cache", *ours, tmp_path, cwd=tmp_path)
        assert style.returncode == 0, style.stdout + style.stderr


def test_what_is_written_is_typed(tmp_path: Path) -> None:
    for family in CONFIG:
        assert new(family, f"my_{family}", "--into", tmp_path).exit_code == 0
    files = sorted(tmp_path.rglob("*.py"))
    assert len(files) == 8
    settings = ("--config-file", ROOT / "pyproject.toml", "--cache-dir", tmp_path / "cache")
    typed = python("-m", "mypy", *settings, *files, cwd=tmp_path)
    assert typed.returncode == 0, typed.stdout


@pytest.mark.parametrize(
    ("family", "name", "said"),
    [
        ("engine", "mine", "there is no short engine plugin to begin with"),
        ("policy", "mine", "there is no family 'policy'; there are selection, checker, adapter, placement, engine"),
        ("selection", "My-Policy", "a plugin cannot be called 'My-Policy'; a name is snake_case"),
        ("selection", "../mine", "cannot be called"),
        ("selection", "", "cannot be called"),
        ("selection", "a" * 41, "at most 40 characters"),
        ("selection", "größte", "cannot be called"),
        ("selection", "lambda", "no word of Python"),
        ("selection", "least_loaded", "there is a plugin 'least_loaded' already"),
        ("selection", "static", "there is a plugin 'static' already"),
        ("selection", "min", "'min' means something else"),
        ("selection", "random", "there is a plugin 'random' already"),
        ("placement", "spread", "there is a plugin 'spread' already"),
        ("placement", "offer", "'offer' means something else"),
        ("checker", "read", None),
        ("adapter", "read", "'read' means something else"),
        ("adapter", "json", None),
        ("adapter", "adapter", "'adapter' means something else"),
    ],
)
def test_names_and_families_that_will_not_do(family: str, name: str, said: str | None, tmp_path: Path) -> None:
    """A name that would hide a built-in one, or that the file itself needs, would break what is written."""
    done = new(family, name, "--into", tmp_path / "mine")
    if said is None:
        assert done.exit_code == 0
        tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "mine", cwd=tmp_path)
        assert tested.returncode == 0, tested.stdout
    else:
        assert done.exit_code == 1 and done.output.startswith("Error: ") and said in done.output
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["mine.py", "tests/test_mine.py"])
def test_nothing_that_is_there_is_overwritten(there: str, tmp_path: Path) -> None:
    file = tmp_path / there
    file.parent.mkdir(exist_ok=True)
    file.write_text("precious")
    done = new("selection", "mine", "--into", tmp_path)
    assert done.exit_code == 1 and f"{file} is there already" in done.output
    assert [each.read_text() for each in tmp_path.rglob("*.py")] == ["precious"]


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = new("selection", "mine", "--into", tmp_path / "file")
    assert done.exit_code == 1 and "cannot write to" in done.output
    (tmp_path / "tests").touch()
    done = new("selection", "mine", "--into", tmp_path)
    assert done.exit_code == 1 and "cannot write to" in done.output
    assert not (tmp_path / "mine.py").exists()
