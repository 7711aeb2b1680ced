"""The contract of plugins, in one call, which names the first clause that is broken."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted.plugin import IPlugin
from zope.interface.exceptions import Invalid

from ngpu.errors import ConfigError, NgpuError
from ngpu.families import FAMILIES, flaws
from ngpu.interfaces import Fetched, FetchRequest, IPluginFactory
from ngpu.testing.adapters import verify_adapter
from ngpu.testing.checkers import HOLDER, NOBODY, verify_checker
from ngpu.testing.contract import Contract
from ngpu.testing.conversation import Answer
from ngpu.testing.engines import verify_engine
from ngpu.testing.placing import verify_placement
from ngpu.testing.policies import verify_policy

_ODD: tuple[Any, ...] = (None, True, -1, 0.5, "", "\0", "no such thing", [], [None], {}, {"": ""}, {"x": [1]})


def verify_plugin(
    factory: IPluginFactory,
    options: Mapping[str, Any] | None = None,
    *,
    source: Callable[[FetchRequest], Fetched] | None = None,
    holds: Mapping[str, str] | None = None,
    holder: str = HOLDER,
    nobody: str = NOBODY,
    worker: Answer | None = None,
    request: bytes = b"{}",
    replicas: Sequence[Any] | None = None,
    plugins: Iterable[IPluginFactory] = (),
    folder: str = ".",
) -> None:
    """Hold a plugin to the contract of its family, as the module of its interface writes it down.

    :param options: with which it works; none by default.
    :param source: of a checker: what the service that it asks answers when all is well.
    :param holds: of a checker: ticker → amount that ``holder`` has; ``nobody`` has none.
    :param worker: of an adapter: what its workers answer when all is well; calls of other workspaces come here too.
    :param request: of an adapter: what a customer sends.
    :param replicas: of a policy: those to choose from, where it would choose none of just any replicas.
    :param plugins: those that it is built out of.
    :param folder: that relative paths of its options are taken from.
    :raises AssertionError: a clause is broken; the message says which.
    """
    contract = Contract(factory, {} if options is None else options, plugins, folder)
    for flaw in flaws(factory):
        raise AssertionError(f"the plugin {factory!r} is broken: {flaw}")
    if not IPlugin.providedBy(factory):
        contract.broken("it is no twisted.plugin.IPlugin, so that discovery would not find it")
    _made(contract)
    _wrong_options(contract)
    if factory.family == "selection":
        verify_policy(contract, replicas)
    elif factory.family == "checker":
        verify_checker(contract, source, holds or {}, holder, nobody)
    elif factory.family == "placement":
        verify_placement(contract)
    elif factory.family == "engine":
        verify_engine(contract)
    elif factory.family == "adapter":
        verify_adapter(contract, worker, request)


def _made(contract: Contract) -> None:
    """An instance can be made, does not change the block that it is made of, and provides what its family is."""
    known = [option.name for option in contract.factory.options]
    for name in contract.options:
        if name not in known:
            contract.broken(f"it declares no option {name!r}; a configuration block with it would be refused")
    before = copy.deepcopy(contract.options)
    try:
        instance = contract.make()
    except ConfigError as error:
        contract.broken(f"it refuses the options of this test, at {'.'.join(map(str, error.path)) or 'the top'}", error)
    except (Exception, SystemExit) as error:
        contract.broken("from_options raised something that is no ConfigError", error)
    if contract.options != before:
        contract.broken("from_options changed the options that it was given")
    try:
        FAMILIES[contract.factory.family].verify(instance)
    except Invalid as error:
        contract.broken(f"what it makes is not as its interface says: {' '.join(str(error).split())}")


def _wrong_options(contract: Contract) -> None:
    """Whatever a configuration says: an instance, or a ConfigError that leads to an option."""
    known = {option.name for option in contract.factory.options}
    cases: list[dict[str, Any]] = [{}]
    cases += [{**contract.options, name: copy.deepcopy(odd)} for name in sorted(known) for odd in _ODD]
    for options in cases:
        try:
            contract.factory.from_options(options, contract.context())
        except ConfigError as error:
            if not isinstance(error.path, tuple) or (error.path and error.path[0] not in known):
                contract.broken(f"a ConfigError over {options!r} has the path {error.path!r}, which is no option's")
        except NgpuError as error:
            contract.broken(f"from_options raised no ConfigError over {options!r}", error)
        except (Exception, SystemExit) as error:
            contract.broken(f"from_options must raise ConfigError over {options!r}", error)
