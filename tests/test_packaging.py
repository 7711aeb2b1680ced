"""Wheel, source distribution, editable install and checkout all hold the same program, plugins included.

``ngpu/plugins`` is a symlink and ``twisted/plugins`` a folder without ``__init__.py``: both are easy to lose.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Collection
from pathlib import Path

import pytest
from processes import ROOT, Process, find_free_port

PLUGINS = sorted(file.stem for file in (ROOT / "plugins").glob("*.py") if file.stem != "__init__")
DISCOVER = """
import json, ngpu, ngpu.plugins
from twisted.plugin import getPlugins
from twisted.application.service import IServiceMaker
from ngpu.interfaces import IPluginFactory
import twisted.plugins
print(json.dumps({
    "file": ngpu.__file__,
    "plugins": sorted(p.name for p in getPlugins(IPluginFactory, ngpu.plugins)),
    "twistd": [m.name for m in getPlugins(IServiceMaker, twisted.plugins) if m.name == "ngpu"],
}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_TARGET"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, symlink and all, so that building leaves nothing in it."""
    copy = tmp_path_factory.mktemp("source") / "ngpu"
    ignore = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "dist", "var", "dropin.cache", "node_modules"
    )
    return Path(shutil.copytree(ROOT, copy, symlinks=True, ignore=ignore))


def build(kind: str, source: Path, out: Path) -> Path:
    """Build a ``wheel`` or an ``sdist`` with the setuptools of this environment."""
    code = f"import sys; from setuptools import build_meta as b; print(b.build_{kind}(sys.argv[1]))"
    return out / run(sys.executable, "-c", code, out, cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return {name for name in file.namelist() if ".dist-info/" not in name}


def expected() -> set[str]:
    """Every module of the checkout where an installation has it."""
    found = {str(file.relative_to(ROOT)) for file in (ROOT / "ngpu").rglob("*.py")}
    found |= {f"ngpu/plugins/{file.name}" for file in (ROOT / "plugins").glob("*.py")}
    return found | {"twisted/plugins/ngpu_plugin.py"}


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    assert {name for name in names(wheel) if name.endswith(".py")} == expected()
    assert not {name for name in names(wheel) if name.split("/")[0] not in ("ngpu", "twisted")}
    page = {f"ngpu/http/dashboard/built/{file.name}" for file in (ROOT / "ngpu/http/dashboard/built").iterdir()}
    assert page and page <= names(wheel)
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ngpu/http/pages").rglob("*") if path.is_file()}
    assert {path for path in pages if "__pycache__" not in path} <= names(wheel)
    assert "ngpu/py.typed" in names(wheel)  # whoever writes plugins has them checked against our types


def test_the_source_distribution_makes_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert not (folder / "tests").exists()
    assert (folder / "systemd/ngpu.service").exists()
    assert (folder / "systemd/ngpu.socket").exists()
    assert (folder / "dashboard/src/main.js").exists()
    assert names(build("wheel", folder, tmp_path)) == names(wheel)


def environment(folder: Path) -> Path:
    """A virtual environment that sees this one's packages, but not the editable ngpu in it; its Python."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin/python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # a path in a .pth file is added without reading the .pth files that lie there
    Path(site, "outer.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    return python


def check_installed(python: Path, cwd: Path, where: Path, more: Collection[str] = ()) -> None:
    found = json.loads(run(python, "-c", DISCOVER, cwd=cwd).splitlines()[-1])
    assert Path(found["file"]).is_relative_to(where)
    assert found["plugins"] == sorted({*PLUGINS, *more})
    assert found["twistd"] == ["ngpu"]
    twistd = run(python, "-c", "from twisted.scripts.twistd import run; run()", "--help", cwd=cwd)
    assert "ngpu" in twistd


def check_serves(program: Path, folder: Path) -> None:
    """The gateway of that installation starts, answers and ends as it should."""
    admin = find_free_port()
    (folder / "ngpu.yaml").write_text(
        f'listen: ["unix:{folder}/s"]\nadmin: {{listen: ["tcp:{admin}:interface=127.0.0.1"]}}\n'
    )
    ready = f"http://127.0.0.1:{admin}/readyz"
    process = Process([str(program), "run", "-c", str(folder / "ngpu.yaml")], folder / "log", ready)
    process.clean_exits = (-signal.SIGTERM,)
    try:
        process.start().stop()
    finally:
        process.kill9()


@pytest.mark.parametrize("form", ["wheel", "sdist", "editable"])
def test_an_installation_finds_its_plugins_serves_and_is_a_twistd_command(
    form: str, source: Path, sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    python = environment(tmp_path / "venv")
    what: tuple[str | Path, ...] = {"wheel": (wheel,), "sdist": (sdist,), "editable": ("--editable", source)}[form]
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install")
    # the outer environment's own editable ngpu would count as installed
    run(*pip, "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", *what, cwd=tmp_path)
    check_installed(python, tmp_path, source if form == "editable" else tmp_path / "venv")
    check_serves(tmp_path / "venv/bin/ngpu", tmp_path)
    example = shutil.copytree(ROOT / "docs/examples/ngpu-example-plugin", tmp_path / "example")
    run(*pip, "--no-deps", "--no-index", "--no-build-isolation", example, cwd=tmp_path)
    check_installed(python, tmp_path, source if form == "editable" else tmp_path / "venv", {"nearest", "guest_list"})


def test_a_checkout_runs_without_an_installation(source: Path, tmp_path: Path) -> None:
    check_installed(environment(tmp_path / "venv"), source, source)
