"""What a plugin file says: one `Factory`, bound to a module-level name, and the class that it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from ngpu.interfaces import IPluginFactory, Option, PluginContext


@implementer(IPlugin, IPluginFactory)
@dataclass(frozen=True)
class Factory:
    """A plugin: what `IPluginFactory` asks for, with ``make`` as its ``from_options``."""

    family: str
    name: str
    summary: str
    make: Callable[[Mapping[str, Any], PluginContext], Any]
    options: Sequence[Option] = field(default=())

    def from_options(self, options: Mapping[str, Any], context: PluginContext) -> Any:
        """Make an instance from a block's options."""
        return self.make(options, context)
