"""A configuration file → settings, or a report of everything that is wrong with it."""

from __future__ import annotations

import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ngpu.settings.block import Surroundings
from ngpu.settings.composer import Unreadable
from ngpu.settings.document import Document, read_document
from ngpu.settings.plugin_blocks import FindPlugins, check_plugins
from ngpu.settings.references import check_references
from ngpu.settings.report import Problem, SettingsError
from ngpu.settings.requirements import check_requirements
from ngpu.settings.root import Settings
from ngpu.settings.scope import check_scope, outdated_certificates, warnings
from ngpu.settings.source import Source
from ngpu.settings.wording import problem_of

MAX_FILE: Final = 4 * 1024 * 1024
"""The most bytes that a configuration file may have."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A configuration that can be used.

    ``warnings``: one line each, in the form of errors. ``outdated``: likewise, certificates that clients will not take,
    which is no reason not to start.
    """

    settings: Settings
    warnings: tuple[str, ...]
    outdated: tuple[str, ...]
    _source: Source = field(repr=False)
    _document: Document = field(repr=False)

    def given(self, *path: str | int) -> Any:
        """What stands at a place of the file, as it was written; ``None`` where nothing does."""
        return self._document.get(*path)

    def located(self, path: tuple[str | int, ...], message: str) -> SettingsError:
        """The error that a later stage found, such as a plugin's, with its place in the file.

        :param path: keys and indexes from the top of the file; what is not there is shown at what would hold it.
        """
        return SettingsError(self._source, [Problem(self._document.spot(path).value, path, message)])


def load(path: Path, find_plugins: FindPlugins | None = None) -> Loaded:
    """Read a configuration file.

    :param find_plugins: finds the plugins, and so lets the blocks that name them be checked with all else.
    :raises SettingsError: with everything that is wrong.
    """
    return loads(read_file(path), str(path), path.absolute().parent, find_plugins)


def read_file(path: Path) -> str:
    """The text of a configuration file.

    :raises SettingsError: it cannot be read, or is no text.
    """
    name = str(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _unusable(name, "is a directory" if path.is_dir() else "is not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise _unusable(name, "there is no such file") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "the name is not valid"
        raise _unusable(name, f"cannot be read: {why}") from None
    return _text(data, name)


def read_block(path: Path) -> dict[str, Any]:
    """One block of a configuration in a file, or a pipe, of its own: plain values, whose meaning is not looked at.

    :raises SettingsError: it cannot be read, or is no block.
    """
    name = str(path)
    with path.open("rb") as file:
        text = _text(file.read(MAX_FILE + 1), name).removeprefix("\ufeff")
    try:
        document = read_document(text)
    except Unreadable as unreadable:
        raise SettingsError(Source(name, text), [*unreadable.found, unreadable.problem]) from None
    if document.problems:
        raise SettingsError(Source(name, text, document.secrets), document.problems)
    if not isinstance(document.values, dict):
        raise _unusable(name, "must hold one block, which begins with id: …")
    return document.values


def _text(data: bytes, name: str) -> str:
    if len(data) > MAX_FILE:
        raise _unusable(name, "is larger than 4 MiB, the most that a configuration may have")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _unusable(name, f"is not UTF-8 text: byte 0x{data[error.start]:02x} in line {line}") from None


def loads(
    text: str,
    name: str,
    folder: Path,
    find_plugins: FindPlugins | None = None,
) -> Loaded:
    """Read a configuration.

    :param name: stands for the file in messages.
    :param folder: absolute; what relative paths are taken from.
    :raises SettingsError: with everything that is wrong.
    """
    text = text.removeprefix("\ufeff")
    try:
        if len(text) > MAX_FILE:
            raise Unreadable(Problem(None, (), "is larger than 4 MiB, the most that a configuration may have"))
        document = read_document(text)
    except Unreadable as unreadable:
        raise SettingsError(Source(name, text), [*unreadable.found, unreadable.problem]) from None
    source = Source(name, text, document.secrets)
    settings, problems = _validated(document, folder)
    problems += [*document.problems, *check_references(document), *check_requirements(document)]
    problems += check_scope(document)
    if find_plugins is not None:
        problems += check_plugins(document, folder, find_plugins)
    if problems or settings is None:
        raise SettingsError(source, problems)
    late = outdated_certificates(document, time.time())
    told, outdated = (tuple(each.head(source.name) for each in found) for found in (warnings(document), late))
    return Loaded(settings, told, outdated, source, document)


def _validated(document: Document, folder: Path) -> tuple[Settings | None, list[Problem]]:
    try:
        return Settings.model_validate(document.values, context=Surroundings(folder)), []
    except ValidationError as error:
        found = (problem_of(each, document) for each in error.errors(include_url=False, include_input=False))
        return None, [each for each in found if each is not None]


def _unusable(name: str, why: str) -> SettingsError:
    return SettingsError(Source(name, ""), [Problem(None, (), why)])
