"""What ngpu serves as its dashboard is what its sources make, and stands in the packages."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from processes import ROOT

from ngpu.journal.kinds import KINDS

SOURCES = ROOT / "dashboard"
BUILT = ROOT / "ngpu/http/dashboard/built"
BUNDLED = ("preact", "htm", "uplot")
REMEDY = "run: make dashboard"


def test_no_source_has_changed_since_the_files_were_built() -> None:
    listed = dict(reversed(line.split("  ")) for line in (BUILT / "sources.sha256").read_text().splitlines())
    files = [SOURCES / "build.mjs", *SOURCES.glob("package*.json"), *(SOURCES / "src").iterdir()]
    there = {str(file.relative_to(SOURCES)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert there == listed, REMEDY


def test_there_are_words_for_every_kind_of_event() -> None:
    for language in ("en", "zh"):
        words = (SOURCES / f"src/{language}.js").read_text("utf-8")
        assert set(re.findall(r"'event\.(\w+)':", words)) == set(KINDS), language


def test_the_sources_make_these_very_files(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm")
    copy = tmp_path / "dashboard"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("node_modules"))
    install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    subprocess.run(install, cwd=copy, check=True, capture_output=True, timeout=120)
    subprocess.run(
        ["node", "build.mjs", str(tmp_path / "built")], cwd=copy, check=True, capture_output=True, timeout=60
    )
    made = {file.name: file.read_bytes() for file in (tmp_path / "built").iterdir()}
    assert made == {file.name: file.read_bytes() for file in BUILT.iterdir()}, REMEDY


def test_each_name_is_the_digest_of_what_is_in_the_file() -> None:
    hashed = [file for file in BUILT.iterdir() if file.name not in ("index.html", "sources.sha256")]
    assert {file.name.split("-")[0] for file in hashed} == {"app", "icon", "licences"}
    for file in hashed:
        assert hashlib.sha256(file.read_bytes()).hexdigest()[:12] in file.name


def test_the_licences_of_what_is_bundled_stand_beside_it() -> None:
    (file,) = BUILT.glob("licences-*.txt")
    text = file.read_text("utf-8")
    for name in BUNDLED:
        assert re.search(rf"^{name} \d+\.\d+\.\d+$", text, re.MULTILINE), name
    assert "MIT" in text and "Apache License" in text


def test_nothing_in_it_leads_to_another_host() -> None:
    allowed = {"www.w3.org"}  # names of XML namespaces, which are never fetched
    for file in BUILT.glob("app-*"):
        hosts = set(re.findall(r"(?:https?:)?//([a-z0-9-]+\.[a-z0-9.-]+)", file.read_text("utf-8")))
        assert hosts <= allowed, file.name


def test_the_lock_file_names_no_registry() -> None:
    assert "resolved" not in (SOURCES / "package-lock.json").read_text()
