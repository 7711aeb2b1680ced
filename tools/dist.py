"""Make dist/: the wheel, the source distribution, and `ngpu`, one file with everything in it but Python.

The one file holds the very libraries of the environment that runs this, those that the tests ran with, and their
compiled parts for other versions of Python from the same releases. The same sources and libraries give the same bytes.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("ngpu", "plugins", "twisted", "systemd", "config", "dashboard")
LED_TO = ("docs/openapi.yaml", "docs/openapi-admin.yaml", "docs/demo/photo.png")
"""Where symlinks among the sources lead, beside them."""

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""Versions that the one file runs with."""

GLIBC = ("2_17", "2_28")
"""Versions of glibc that a compiled part may want; Debian 10 has 2.28."""

LEFT_OUT = {"__pycache__", "test", "tests", ".."}
"""Folders of libraries that no program needs; ``..`` leads to commands of theirs."""

OF_INSTALLERS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
EPOCH = "315532800"
"""The time that files get: the first that a zip file can say."""


def main() -> None:
    """Make all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder that they go into")
    parser.add_argument("--python", action="append", help=f"versions of the one file; default {', '.join(PYTHONS)}")
    options = parser.parse_args()
    out = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as temporary:
        source, stage = Path(temporary, "source"), Path(temporary, "site-packages")
        stage.mkdir()
        copy_sources(source)
        for kind in ("wheel", "sdist"):
            made = out / build(kind, source, out)
            print(f"{made}: {made.stat().st_size:,} bytes")
            if kind == "wheel":
                unpack(made, stage)
        for each in needed(running()).values():
            copy_library(each, stage)
        for version in options.python or PYTHONS:
            if version != running():
                add_compiled(version, stage, Path(temporary, version))
        pack(stage, out / "ngpu")
    print(f"{out / 'ngpu'}: {(out / 'ngpu').stat().st_size:,} bytes")


def running() -> str:
    """The version of Python that runs this."""
    return "{}.{}".format(*sys.version_info[:2])


def copy_sources(to: Path) -> None:
    """A copy to build in, so that nothing of earlier builds gets into this one and nothing of it stays."""
    to.mkdir()
    for file in ROOT.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copy(file, to)
    ignored = shutil.ignore_patterns("__pycache__", "dropin.cache", "var", "node_modules")
    for name in SOURCES:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=ignored)
    for name in LED_TO:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, to / name)


def build(kind: str, source: Path, out: Path) -> str:
    """Build a ``wheel`` or an ``sdist`` with the setuptools of this environment; its name."""
    code = f"import sys; from setuptools import build_meta as b; print(b.build_{kind}(sys.argv[1]))"
    return run(sys.executable, "-c", code, str(out), cwd=source, SOURCE_DATE_EPOCH=EPOCH).splitlines()[-1]


def needed(version: str) -> dict[str, Distribution]:
    """What ngpu needs with that version of Python, as this environment has it."""
    environment: Mapping[str, str] = {
        **default_environment(),  # type: ignore[dict-item]
        "python_version": version,
        "python_full_version": f"{version}.0",
    }
    found: dict[str, Distribution] = {}
    seen = {("ngpu", "")}
    queue = [("ngpu", "")]
    while queue:
        name, extra = queue.pop()
        for text in distribution(name).requires or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({**environment, "extra": extra}):
                continue
            found.setdefault(requirement.name.lower().replace("_", "-"), distribution(requirement.name))
            wanted = {(requirement.name, each) for each in ("", *requirement.extras)}
            queue += wanted - seen
            seen |= wanted
    return dict(sorted(found.items()))


def copy_library(library: Distribution, stage: Path) -> None:
    """Put the files of an installed library where the one file has them, as they came and without traces of it."""
    for file in library.files or ():
        if LEFT_OUT.intersection(file.parts[:-1]):
            continue
        if file.parts[0].endswith(".dist-info") and file.name in OF_INSTALLERS:
            continue
        to = stage / file
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(Path(str(library.locate_file(file))).read_bytes())
    if any(compiled(library)) and "manylinux" not in (library.read_text("WHEEL") or ""):
        sys.exit(f"{library.name} was compiled on this machine and may not run on others: install it from a wheel")


def compiled(library: Distribution) -> Iterator[str]:
    """Its parts that were compiled for one version of Python."""
    for file in library.files or ():
        if ".cpython-" in file.name and file.suffix == ".so":
            yield str(file)


def add_compiled(version: str, stage: Path, folder: Path) -> None:
    """Add the compiled parts for another version of Python, out of the same releases of the same libraries."""
    libraries = needed(version)
    missing = sorted(libraries.keys() - needed(running()).keys())
    if missing:
        sys.exit(f"Python {version} needs {', '.join(missing)}, which Python {running()} does not")
    wanted = [f"{name}=={each.version}" for name, each in libraries.items() if any(compiled(each))]
    platforms = [f"--platform=manylinux_{glibc}_{platform.machine()}" for glibc in GLIBC]
    if platform.machine() == "x86_64":
        platforms.append("--platform=manylinux2014_x86_64")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
    for_it = ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}", *platforms]
    run(*pip, *for_it, f"--dest={folder}", *wanted, cwd=stage)
    for wheel in sorted(folder.glob("*.whl")):
        unpack(wheel, stage, ".so")


def unpack(wheel: Path, stage: Path, word: str = "") -> None:
    """Put the files of a wheel with that word in their names where the one file has them; none replaces another."""
    with zipfile.ZipFile(wheel) as file:
        for name in file.namelist():
            if word in name and Path(name).name not in OF_INSTALLERS and not (stage / name).exists():
                file.extract(name, stage)


def pack(stage: Path, to: Path) -> None:
    """Make one file of all that is staged."""
    for path in sorted(stage.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # which the file records, whatever the wheels said
    shiv = Path(sysconfig.get_path("scripts"), "shiv")
    begin = ROOT / "tools/begin.py"
    # replaced at once, since processes that run may read it at any time
    new, packed = to.with_name(f".{to.name}.new"), to.with_name(f".{to.name}.packed")
    run(
        *(str(shiv), "--reproducible", f"--site-packages={stage}", "--console-script=ngpu", f"--preamble={begin}"),
        f"--output-file={packed}",
        cwd=stage,
        SOURCE_DATE_EPOCH=EPOCH,
    )
    begin_with(ROOT / "tools/unpack.py", packed, new)
    packed.unlink()
    new.rename(to)


def begin_with(main: Path, packed: Path, to: Path) -> None:
    """Copy what shiv has packed, with another program to begin with."""
    with zipfile.ZipFile(packed) as old, packed.open("rb") as file, to.open("wb") as out:
        out.write(file.readline())  # #!/usr/bin/env python3
        with zipfile.ZipFile(out, "w") as new:
            for each in old.infolist():
                content = main.read_bytes() if each.filename == "__main__.py" else old.read(each)
                new.writestr(each, content, each.compress_type)
    to.chmod(0o755)


def run(*command: str, cwd: Path, **more: str) -> str:
    """Run a command; what it prints.

    :raises SystemExit: with its output, when it fails.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env={**environment, **more}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
