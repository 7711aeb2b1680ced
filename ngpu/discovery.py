"""Finding plugins: in ``ngpu.plugins``, in what other distributions add to it, and in the folders of ``plugins.path``.

twisted.plugin only logs a plugin that fails to import, lets one file hide another of the same name, and trusts a cache
by the age of files; an operator who named a plugin in the configuration deserves better, so here whatever is broken or
ambiguous stops the start and says what exists.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.plugin import IPlugin, getPlugins
from zope.interface.exceptions import Invalid

import ngpu.plugins
from ngpu.errors import ConfigError
from ngpu.families import FAMILIES, Broken, described, flaws, is_module_name
from ngpu.interfaces import IPluginFactory, PluginContext

_INSTALLED = tuple(ngpu.plugins.__path__)


@dataclass(frozen=True)
class Plugins:
    """The plugins that there are, by family and name.

    :ivar files: where each of them stands.
    :ivar without: files in which no plugin was found.
    """

    factories: Mapping[tuple[str, str], IPluginFactory]
    files: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    without: Sequence[Path] = ()

    def names(self, family: str) -> list[str]:
        """The names in a family, in order."""
        return sorted(name for kind, name in self.factories if kind == family)

    def make(self, family: str, name: str, options: Mapping[str, Any], context: PluginContext) -> Any:
        """An instance for a configuration block.

        :raises ConfigError: no such plugin (path ``()``), or an option is wrong (its path within the options).
        """
        factory = self.factories.get((family, name))
        if factory is None:
            raise ConfigError(self._missing(family, name))
        known = [option.name for option in factory.options]
        for option in options:
            if option not in known:
                takes = f"it takes {_list(known)}" if known else "it takes none"
                raise ConfigError(f"{name} has no such option{_nearest(option, known)}; {takes}", ("options", option))

        def make_other(family: str, name: str, options: Mapping[str, Any]) -> Any:
            return self.make(family, name, options, context)

        try:
            instance = factory.from_options(options, context._replace(make=make_other))
        except ConfigError as error:
            raise ConfigError(str(error), ("options", *error.path)) from None
        except Broken as error:
            why = f"the plugin {name!r} is broken: making one raised {described(error)}"
            raise ConfigError(why, ("options",) if options else ()) from error
        try:
            FAMILIES[family].verify(instance)
        except Invalid as error:
            raise ConfigError(f"the plugin {name!r} is broken: {' '.join(str(error).split())}") from None
        return instance

    def _missing(self, family: str, name: str) -> str:
        known = self.names(family)
        message = f"there is no {family} plugin {name!r}{_nearest(name, known)}; there are {_list(known)}"
        for file in self.without:
            if file.stem == name:
                message += f"; {file} holds no plugin: it needs a Factory that is bound to a name of the module"
        return message


def discover(folders: Iterable[Path]) -> Plugins:
    """Find every plugin.

    :param folders: of ``plugins.path``.
    :raises ConfigError: a folder is missing, a plugin cannot be imported or used, or two have one name.
    """
    places: dict[Path, tuple[str | int, ...]] = {Path(folder).resolve(): ("plugins",) for folder in _INSTALLED}
    added = []
    for index, folder in enumerate(folders):
        place: tuple[str | int, ...] = ("plugins", "path", index)
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder", place)
        if folder.resolve() not in places:
            places[folder.resolve()] = place
            added.append(str(folder.resolve()))
    ngpu.plugins.__path__[:] = [*_INSTALLED, *added]
    found = _Found()
    importlib.invalidate_caches()  # a file may be newer than what the import system has seen of its folder
    for where, named_at in places.items():
        found.look_into(where, named_at)
    # all of these are there by now, unless a dropin.cache is wrong about a file that is older than itself
    for factory in getPlugins(IPluginFactory, ngpu.plugins):
        found.add(factory, Path(ngpu.plugins.__name__))
    return found.plugins()


class _Found:
    """What was found so far: modules by name, factories by family and name."""

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}
        self._without: list[Path] = []
        self._factories: dict[tuple[str, str], tuple[IPluginFactory, Path]] = {}

    def plugins(self) -> Plugins:
        """All of them."""
        factories = {key: factory for key, (factory, _) in self._factories.items()}
        files = {key: file for key, (_, file) in self._factories.items()}
        return Plugins(factories, files, tuple(self._without))

    def look_into(self, folder: Path, place: tuple[str | int, ...]) -> None:
        """Import what is in a folder.

        :param place: what the configuration says of it.
        """
        for file in sorted(_modules(folder)):
            name = file.parent.name if file.name == "__init__.py" else file.stem
            try:
                self._take(name, file)
            except ConfigError as error:
                raise ConfigError(str(error), place) from error.__cause__

    def _take(self, name: str, file: Path) -> None:
        if not (name.isidentifier() and name.isascii()):  # twisted.plugin takes no others
            raise ConfigError(f"{file} cannot be imported by that name; call it {_as_module(name)}.py")
        if name in self._files:
            raise ConfigError(f"{self._files[name]} and {file} have one name; rename one of them")
        self._files[name] = file
        factories = list(_factories(_import(name, file)))
        for factory in factories:
            self.add(factory, file)
        if not factories:
            self._without.append(file)

    def add(self, factory: IPluginFactory, file: Path) -> None:
        """Take a factory in; one that is there already may come again."""
        for flaw in flaws(factory):
            raise ConfigError(f"the plugin in {file} is broken: {flaw}")
        key = factory.family, factory.name
        before, there = self._factories.setdefault(key, (factory, file))
        if before is not factory:
            raise ConfigError(f"two {factory.family} plugins are called {factory.name!r}: {there}, {file}; remove one")


def _modules(folder: Path) -> Iterator[Path]:
    for finder, name, _ in pkgutil.iter_modules([str(folder)]):
        spec = finder.find_spec(name, None)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin)


def _import(name: str, file: Path) -> ModuleType:
    full = f"{ngpu.plugins.__name__}.{name}"
    loaded = sys.modules.get(full)
    if loaded is not None and Path(loaded.__file__ or "").resolve() != file.resolve():
        del sys.modules[full]  # of a folder that an earlier configuration named
    try:
        return importlib.import_module(full)
    except Broken as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == file.resolve()]
        where = f"{file}:{lines[-1]}" if lines else str(file)
        raise ConfigError(f"the plugin {where} cannot be imported: {described(error)}; mend or remove it") from error


def _factories(module: ModuleType) -> Iterator[IPluginFactory]:
    """The plugins that a module holds, as twisted.plugin finds them: those bound to its names."""
    for value in vars(module).values():
        if IPlugin.providedBy(value) and IPluginFactory.providedBy(value):
            yield value


def _as_module(name: str) -> str:
    """The nearest name that a module may have."""
    plain = "".join(char if char.isalnum() and char.isascii() else "_" for char in name.lower()).strip("_")
    return plain if is_module_name(plain) else f"plugin_{plain}"


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"
