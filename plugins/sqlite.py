"""Store ``sqlite``: task records in one file of this machine, for one gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ngpu import options as read
from ngpu.interfaces import Option, PluginContext
from ngpu.plugin import Factory
from ngpu.stores.sqlite import SqliteTaskStore

PATH = "var/ngpu.sqlite"


def _make(options: Mapping[str, Any], context: PluginContext) -> SqliteTaskStore:
    return SqliteTaskStore(read.file(options, "path", PATH, context.folder), context.clock)


sqlite = Factory(
    "store",
    "sqlite",
    "One SQLite file on this machine, for one gateway.",
    _make,
    (Option("path", "the file; it and its folder are made where they are missing", PATH, "file"),),
)
