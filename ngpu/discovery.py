"""Finding plugins: in ``ngpu.plugins``, in what other distributions add to it, and in the folders of ``plugins.path``.

twisted.plugin only logs a plugin that fails to import; an operator who named it in the configuration deserves better,
so here whatever is broken or ambiguous stops the start and says what exists.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.plugin import getPlugins
from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

import ngpu.plugins
from ngpu.adapter import IAppAdapter
from ngpu.errors import ConfigError
from ngpu.interfaces import IInscriptionChecker, IPluginFactory, ISelectionPolicy, PluginContext

FAMILIES: Mapping[str, type[Interface]] = {
    "selection": ISelectionPolicy,
    "checker": IInscriptionChecker,
    "adapter": IAppAdapter,
}
"""The families of plugins, and what their instances provide."""


@dataclass(frozen=True)
class Plugins:
    """The plugins that there are, by family and name."""

    factories: Mapping[tuple[str, str], IPluginFactory]

    def names(self, family: str) -> list[str]:
        """The names in a family, in order."""
        return sorted(name for kind, name in self.factories if kind == family)

    def make(self, family: str, name: str, options: Mapping[str, Any], context: PluginContext) -> Any:
        """An instance for a configuration block.

        :raises ConfigError: no such plugin (path ``()``), or an option is wrong (its path within the options).
        """
        factory = self.factories.get((family, name))
        if factory is None:
            known = self.names(family)
            raise ConfigError(f"there is no {family} plugin {name!r}{_nearest(name, known)}; there are {_list(known)}")
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
        try:
            verifyObject(FAMILIES[family], instance)
        except Invalid as error:
            raise ConfigError(f"the plugin {name!r} is broken: {error}") from None
        return instance


def discover(folders: Iterable[Path]) -> Plugins:
    """Find every plugin.

    :param folders: of ``plugins.path``.
    :raises ConfigError: a folder is missing, a plugin cannot be imported, or two have one name.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder", ("plugins", "path"))
        if str(folder) not in ngpu.plugins.__path__:
            ngpu.plugins.__path__.append(str(folder))
    for module in pkgutil.iter_modules(ngpu.plugins.__path__):
        _import(f"{ngpu.plugins.__name__}.{module.name}")
    factories: dict[tuple[str, str], IPluginFactory] = {}
    for factory in getPlugins(IPluginFactory, ngpu.plugins):
        key = factory.family, factory.name
        if factory.family not in FAMILIES:
            raise ConfigError(f"the plugin {factory.name!r} is of no family: {factory.family!r}", ("plugins",))
        if key in factories:
            raise ConfigError(f"two {factory.family} plugins are called {factory.name!r}; remove one", ("plugins",))
        factories[key] = factory
    return Plugins(factories)


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:
        raise ConfigError(
            f"the plugin module {module} cannot be imported: {type(error).__name__}: {error}; mend or remove it",
            ("plugins",),
        ) from error


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"
