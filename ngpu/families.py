"""The families of plugins, and what is asked of every plugin, whatever its family is."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from ngpu.adapter import IAppAdapter
from ngpu.adapter import flaws as adapter_flaws
from ngpu.containers import IContainerEngine
from ngpu.interfaces import IInscriptionChecker, IPluginFactory, ISelectionPolicy, Option
from ngpu.placing import IPlacementPolicy
from ngpu.policy import IAffinePolicy, IObservingPolicy
from ngpu.storing import IStore

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
LONGEST_NAME = 40


class Family(NamedTuple):
    """What a family's instances provide, where a configuration names its plugins, and what they may provide beside.

    ``flaws`` tells what is wrong with the attributes of one, a clause each.
    """

    interface: type[Interface]
    key: str
    beside: tuple[type[Interface], ...] = ()
    flaws: Callable[[Any], Iterable[str]] = lambda instance: ()

    def verify(self, instance: object) -> None:
        """See that an instance is as its interfaces say.

        :raises Invalid: it is not.
        """
        verifyObject(self.interface, instance)
        for interface in self.beside:
            if interface.providedBy(instance):
                verifyObject(interface, instance)
        for flaw in self.flaws(instance):
            raise Invalid(flaw)


FAMILIES: Mapping[str, Family] = {
    "selection": Family(ISelectionPolicy, "workspaces[].selection.policy", (IObservingPolicy, IAffinePolicy)),
    "checker": Family(IInscriptionChecker, "gates.<name>.checker"),
    "adapter": Family(IAppAdapter, "apps.<name>.adapter", flaws=adapter_flaws),
    "placement": Family(IPlacementPolicy, "workspaces[].placement.policy"),
    "engine": Family(IContainerEngine, "nodes[].engine"),
    "store": Family(IStore, "store.kind"),
}


Broken = (Exception, SystemExit)
"""What a plugin's own code may raise without taking the process with it."""


def described(error: BaseException | None) -> str:
    """An error of a plugin's, in words, whatever its own ``str`` is like."""
    try:
        words = str(error)
    except Exception:
        words = ""
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def is_name(text: object) -> bool:
    """Whether a plugin or an option may be called so: snake_case, in ASCII."""
    return isinstance(text, str) and len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def is_module_name(text: str) -> bool:
    """Whether a plugin of that name can stand in a file of that name."""
    return is_name(text) and not keyword.iskeyword(text)


def flaws(factory: Any) -> Iterator[str]:
    """What is wrong with a plugin before anything is made of it, a clause each, first what matters most."""
    try:
        verifyObject(IPluginFactory, factory)
    except Invalid as error:
        yield " ".join(str(error).split())
        return
    if factory.family not in FAMILIES:
        yield f"its family is {factory.family!r}; there are {', '.join(FAMILIES)}"
    if not is_name(factory.name):
        yield f"its name is {factory.name!r}, which is not in snake_case, or over {LONGEST_NAME} characters long"
    if not isinstance(factory.summary, str) or not factory.summary.strip() or "\n" in factory.summary:
        yield "its summary is not one line of text"
    if isinstance(factory.options, str) or not isinstance(factory.options, list | tuple):
        yield "its options are no list"
        return
    named = set()
    for option in factory.options:
        if not isinstance(option, Option) or not is_name(option.name) or not isinstance(option.meaning, str):
            yield f"an option of it is {option!r}, and no Option(name, meaning, …)"
        elif option.name in named:
            yield f"it has two options that are called {option.name!r}"
        else:
            named.add(option.name)
