"""Where a plugin comes from: ngpu itself, another distribution, or a file of the operator's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import ngpu

BUILT_IN = "built in"
OURS = "ngpu"
_FOLDER = "ngpu/plugins/"


class Origin(NamedTuple):
    """``distribution`` and ``version`` are empty for a file that no distribution has put there."""

    distribution: str
    version: str
    file: Path

    def __str__(self) -> str:
        if self.distribution == OURS:
            return BUILT_IN
        return f"{self.distribution} {self.version}" if self.distribution else str(self.file)


class Origins:
    """Looks the distributions of this Python through, once."""

    def __init__(self) -> None:
        self._built_in = (Path(ngpu.__file__).parent / "plugins").resolve()
        self._files: dict[Path, Distribution] = {}
        self._folders: dict[Path, Distribution] = {}
        for distribution in distributions():
            self._files.update((file, distribution) for file in _installed(distribution))
            folder = _editable(distribution)
            if folder is not None:
                self._folders[folder] = distribution

    def of(self, file: Path) -> Origin:
        """The origin of a plugin's file."""
        file = file.resolve()
        owner = self._files.get(file)
        if owner is None and file.is_relative_to(self._built_in):
            return Origin(OURS, ngpu.__version__, file)
        if owner is None:
            around = [folder for folder in self._folders if file.is_relative_to(folder)]
            owner = self._folders[max(around, key=lambda folder: len(folder.parts))] if around else None
            if owner is not None and owner.name == OURS:
                owner = None  # a file in our checkout that is not ours to ship
        return Origin("", "", file) if owner is None else Origin(owner.name, owner.version, file)


def _installed(distribution: Distribution) -> Iterator[Path]:
    """Its plugins' files."""
    if _FOLDER in (distribution.read_text("RECORD") or ""):
        for file in distribution.files or ():
            if file.as_posix().startswith(_FOLDER):
                yield Path(str(distribution.locate_file(file))).resolve()


def _editable(distribution: Distribution) -> Path | None:
    """The folder of one that is installed to be edited (PEP 660, as PEP 610 records it)."""
    try:
        told = json.loads(distribution.read_text("direct_url.json") or "{}")
        url = urlsplit(told["url"]) if told["dir_info"]["editable"] is True else None
    except (ValueError, KeyError, TypeError):
        return None
    return Path(unquote(url.path)).resolve() if url is not None and url.scheme == "file" else None
