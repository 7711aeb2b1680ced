"""Inscription checker ``guest_list``: addresses out of a file, one a line, each of which holds one of everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from zope.interface import implementer

from ngpu.errors import ConfigError
from ngpu.interfaces import IInscriptionChecker, Option, PluginContext
from ngpu.model import Holdings
from ngpu.plugin import Factory


@implementer(IInscriptionChecker)
class GuestList:
    """Knows who is on it."""

    def __init__(self, guests: frozenset[str]) -> None:
        self._guests = guests

    async def holdings(self, address: str, tickers: Sequence[str]) -> Holdings:
        """See `IInscriptionChecker.holdings`."""
        return Holdings(dict.fromkeys(tickers, Decimal(1)) if address in self._guests else {})


def _make(options: Mapping[str, Any], context: PluginContext) -> GuestList:
    name = options.get("file")
    if not isinstance(name, str) or not name or "\0" in name:
        raise ConfigError("must be the path of a file with one address a line", ("file",))
    try:
        lines = Path(context.folder, name).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", ("file",)) from None
    return GuestList(frozenset(line.strip() for line in lines if line.strip()))


guest_list = Factory(
    "checker",
    "guest_list",
    "Addresses out of a file, each of which holds one of everything.",
    _make,
    (Option("file", "one address a line; read at the start", None, "file"),),
)
