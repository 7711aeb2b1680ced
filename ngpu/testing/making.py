"""Making plugins' instances in a test, without a configuration or a gateway."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.plugin import IPlugin

from ngpu.errors import ConfigError
from ngpu.interfaces import IPluginFactory, PluginContext

SEED = 20240415


def load_plugin(file: Path) -> IPluginFactory:
    """The plugin in a file that is not installed.

    :raises AssertionError: it holds none, or several.
    """
    spec = importlib.util.spec_from_file_location(f"_plugin_{file.stem}", file)
    assert spec is not None and spec.loader is not None, f"{file} is no Python file"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[int, Any] = {
        id(value): value
        for value in vars(module).values()
        if IPlugin.providedBy(value) and IPluginFactory.providedBy(value)
    }
    assert found, f"{file} holds no plugin: it needs a Factory that is bound to a name of the module"
    assert len(found) == 1, f"{file} holds {len(found)} plugins; take the one you mean from the module itself"
    (plugin,) = found.values()
    return plugin  # type: ignore[no-any-return]


def plugin_context(
    clock: Any = None,
    rng: Random | None = None,
    fetcher: Any = None,
    folder: str = ".",
    plugins: Iterable[IPluginFactory] = (),
) -> PluginContext:
    """What a plugin gets of the process: a clock that stands still, a seeded rng, and no way out unless one is given.

    :param plugins: those that it may be built out of.
    """
    known = {(each.family, each.name): each for each in plugins}

    def make(family: str, name: str, options: Mapping[str, Any]) -> Any:
        if (family, name) not in known:
            raise ConfigError(f"there is no {family} plugin {name!r} in this test")
        return known[family, name].from_options(options, context)

    context = PluginContext(clock or Clock(), rng or Random(SEED), folder, fetcher, make)
    return context


def make_plugin(
    factory: IPluginFactory, options: Mapping[str, Any] | None = None, context: PluginContext | None = None
) -> Any:
    """An instance, as a configuration block makes one.

    :param options: the block's; none by default.
    :param context: a `plugin_context` by default.
    """
    return factory.from_options({} if options is None else options, context or plugin_context())
