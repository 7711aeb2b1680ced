"""`ngpu plugins` and `ngpu check` see plugins of all three origins, and none of them can be broken in silence."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from forked import fork_server
from processes import ROOT

import ngpu
from ngpu.origin import Origins

EXAMPLE = ROOT / "docs/examples/ngpu-example-plugin"
POLICY = """
from zope.interface import implementer
from ngpu.interfaces import ISelectionPolicy
from ngpu.plugin import Factory

@implementer(ISelectionPolicy)
class Policy:
    def select(self, replicas, request):
        return replicas[0]

policy = Factory("selection", "NAME", "A test's.", lambda options, context: Policy())
"""
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "their-plugin"
version = "2.5"
[tool.setuptools]
package-dir = {"" = "src"}
packages = ["ngpu.plugins"]
"""


def run(*command: str | Path, path: Path | None = None, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command of this Python, with a folder before all others on its path."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    env |= {"PYTHONPATH": str(path)} if path is not None else {}
    arguments = [sys.executable, *map(str, command)]
    return subprocess.run(arguments, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)


def pip_install(project: Path, target: Path, cwd: Path) -> None:
    """As an operator would, less the network."""
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    done = run("-m", "pip", "install", *offline, "--target", target, project, cwd=cwd)
    assert done.returncode == 0, done.stderr


@functools.cache
def installed_once() -> Path:
    """Where pip has put a distribution with the plugin ``far_away``."""
    folder = Path(tempfile.mkdtemp(prefix="ngpu-installed-"))
    atexit.register(shutil.rmtree, folder)
    project = folder / "project"
    (project / "src/ngpu/plugins").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "src/ngpu/plugins/far_away.py").write_text(POLICY.replace("NAME", "far_away"))
    pip_install(project, folder / "installed", folder)
    return folder / "installed"


class Place:
    """Somewhere to put a plugin's file; `ngpu` then runs where it is found."""

    def __init__(self, origin: str, folder: Path) -> None:
        self.origin = origin
        self.config = folder / "ngpu.yaml"
        self._folder = folder
        self._path: Path | None = None
        self._named: list[str] = []

    def put(self, name: str, text: str) -> None:
        if self.origin == "built in":
            checkout = self._folder / "checkout"
            checkout.mkdir()
            shutil.copytree(ROOT / "ngpu", checkout / "ngpu", symlinks=True, ignore=_USELESS)
            shutil.copytree(ROOT / "plugins", checkout / "plugins", ignore=_USELESS)
            (checkout / "plugins" / f"{name}.py").write_text(text)
            self._path = checkout
        elif self.origin == "distribution":
            self._path = Path(shutil.copytree(installed_once(), self._folder / "installed", ignore=_USELESS))
            (self._path / "ngpu/plugins/far_away.py").unlink()
            (self._path / "ngpu/plugins" / f"{name}.py").write_text(text)
            (record,) = self._path.glob("their_plugin-*.dist-info/RECORD")
            record.write_text(record.read_text().replace("far_away", name))
        else:
            (self._folder / "mine").mkdir()
            (self._folder / "mine" / f"{name}.py").write_text(text)
            self._named = ["mine"]

    def ngpu(self, command: str, policy: str = "least_loaded") -> subprocess.CompletedProcess[str]:
        workspace = {
            "id": "1",
            "ports": {8080: 80},
            "upstream": [{"node": "0x73", "ports": {8080: 18080}}],
            "selection": {"policy": policy},
        }
        config: dict[str, Any] = {
            "nodes": [{"address": "0x73", "host": "127.0.0.1"}],
            "workspaces": [workspace],
            "plugins": {"path": self._named},
        }
        self.config.write_text(json.dumps(config))
        words = ("-m", "ngpu.cli", *command.split(), "-c", str(self.config))
        if self._path is None:  # it is found at run time
            return fork_server.run(*words, cwd=self._folder, timeout=120)
        return run(*words, path=self._path, cwd=self._folder)


_USELESS = shutil.ignore_patterns("dropin.cache", "tests")


@pytest.fixture(params=["built in", "distribution", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path)


def test_a_plugin_is_found_and_listed_with_its_origin(place: Place, tmp_path: Path) -> None:
    place.put("far_away", POLICY.replace("NAME", "far_away"))
    assert place.ngpu("check", "far_away").returncode == 0
    listed = json.loads(place.ngpu("plugins --json").stdout)
    (mine,) = [each for each in listed if each["name"] == "far_away"]
    file = Path(mine["origin"].pop("file"))
    assert file.name == "far_away.py" and file.is_relative_to(tmp_path)
    whose = {"built in": ("ngpu", ngpu.__version__), "distribution": ("their-plugin", "2.5"), "file": (None, None)}[
        place.origin
    ]
    assert mine["origin"] == {"kind": place.origin, "distribution": whose[0], "version": whose[1]}
    shown = {"built in": "built in", "distribution": "their-plugin 2.5", "file": str(file)}[place.origin]
    (line,) = [line for line in place.ngpu("plugins").stdout.splitlines() if "far_away" in line]
    assert line.split(None, 2)[2].startswith(f"{shown}  ")


def test_an_unknown_name_stops_the_start_and_is_told_with_all_there_are(place: Place) -> None:
    place.put("far_away", POLICY.replace("NAME", "far_away"))
    done = place.ngpu("run", "faraway")
    assert done.returncode == 2
    assert "there is no selection plugin 'faraway' (did you mean 'far_away'?); there are far_away, " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("broken_one", "import nothing_like_this\n", "broken_one.py:1 cannot be imported: ModuleNotFoundError"),
        ("another", POLICY.replace("NAME", "round_robin"), "two selection plugins are called 'round_robin': "),
    ],
    ids=["broken", "duplicate"],
)
def test_a_broken_or_duplicate_one_stops_the_start_though_nobody_names_it(
    place: Place, name: str, text: str, said: str
) -> None:
    place.put(name, text)
    for command in ("run", "plugins"):
        done = place.ngpu(command)
        assert done.returncode == 2, done.stdout + done.stderr
        assert said in done.stderr and f"{name}.py" in done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example of the documentation is installed."""
    folder = tmp_path_factory.mktemp("example")
    project = shutil.copytree(EXAMPLE, folder / "project")  # building leaves things behind
    pip_install(project, folder / "installed", folder)
    return folder / "installed"


def test_the_example_distribution_is_found_once_it_is_installed(example: Path, tmp_path: Path) -> None:
    before = json.loads(run("-m", "ngpu.cli", "plugins", "--json", cwd=tmp_path).stdout)
    listed = json.loads(run("-m", "ngpu.cli", "plugins", "--json", path=example, cwd=tmp_path).stdout)
    new = {each["name"]: each for each in listed if each not in before}
    assert set(new) == {"nearest", "guest_list"}
    for each in new.values():
        origin = each["origin"]
        assert (origin["kind"], origin["distribution"], origin["version"]) == (
            "distribution",
            "ngpu-example-plugin",
            "1.0.0",
        )
        assert Path(origin["file"]).is_relative_to(example)
    assert new["guest_list"]["options"] == [
        {"name": "file", "meaning": "one address a line; read at the start", "default": None, "unit": "file"}
    ]


def test_the_example_distribution_works_as_its_readme_says(example: Path, tmp_path: Path) -> None:
    (tmp_path / "guests.txt").write_text("")
    text = (EXAMPLE / "README.md").read_text()
    block = text.partition("\n    workspaces:\n")[2].partition("\n\n")[0]
    config = "workspaces:\n" + "\n".join(line.removeprefix("    ") for line in block.splitlines())
    upstream = 'id: "1", ports: {8080: 80}, upstream: [{node: "0x73", ports: {8080: 18080}}], selection'
    config = config.replace("- selection: {policy: nearest, options: {area: eu}}", f"- {{{upstream}: {{POLICY}}}}")
    config = config.replace("POLICY", "policy: nearest, options: {area: eu}")
    (tmp_path / "ngpu.yaml").write_text('nodes: [{address: "0x73", host: 127.0.0.1}]\n' + config + "\n")
    done = run("-m", "ngpu.cli", "check", "-c", "ngpu.yaml", path=example, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 workspace, 1 node, 0 apps, 1 gate" in done.stdout


def test_the_tests_of_the_example_distribution_pass(tmp_path: Path) -> None:
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", EXAMPLE, EXAMPLE, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_one_that_is_installed_to_be_edited_is_its_distributions(tmp_path: Path) -> None:
    """PEP 660 leaves the files where they are; their owner is told by PEP 610."""
    project = tmp_path / "their project"
    plugin = project / "src/ngpu/plugins/far_away.py"
    plugin.parent.mkdir(parents=True)
    plugin.touch()
    info = tmp_path / "site/their_plugin-2.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-plugin\nVersion: 2.5\n")
    told = {"url": project.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(told))
    sys.path.append(str(tmp_path / "site"))
    try:
        origins = Origins()
    finally:
        sys.path.remove(str(tmp_path / "site"))
    assert str(origins.of(plugin)) == "their-plugin 2.5"
    assert str(origins.of(tmp_path / "another.py")) == str(tmp_path / "another.py")
    assert str(origins.of(EXAMPLE / "src/ngpu/plugins/nearest.py")).endswith("nearest.py")
