"""One block of ``workspaces`` that comes alone, as values out of JSON: the checks of a file, in their words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from ngpu.settings.block import Surroundings
from ngpu.settings.document import Document, document_of
from ngpu.settings.plugin_blocks import FindPlugins, check_plugins
from ngpu.settings.raw import host_key
from ngpu.settings.references import check_names
from ngpu.settings.report import Path, Problem
from ngpu.settings.root import Settings
from ngpu.settings.scope import check_scope
from ngpu.settings.wording import problem_of
from ngpu.settings.workspace import Workspace

MOST_VALUES = 5_000
"""Values that a block may have: all that is wrong with them is said between two turns of the reactor."""

_AT = ("workspaces", 0)


def lone_workspace(
    values: Mapping[str, Any], settings: Settings, find_plugins: FindPlugins
) -> tuple[Workspace | None, list[Problem]]:
    """What a workspace would be beside a configuration, and everything that is wrong with it.

    Whether its id and keys are those of another workspace is not looked at: that changes from moment to moment.

    :param values: the block, as JSON has it.
    :returns: ``None`` where it is too wrong to be one; paths begin within the block.
    """
    document = document_of(
        {
            "nodes": [{"address": node.address, "engine": node.engine} for node in settings.nodes],
            "gates": {name: {} for name in settings.gates},
            "apps": {name: {} for name in settings.apps},
            "workspaces": [dict(values)],
        },
        _AT,
    )
    if len(document.spots) > MOST_VALUES:
        return None, [Problem(None, (), f"holds more than {MOST_VALUES} values")]
    odd = list(_surrogates(document))
    if odd:
        return None, odd
    workspace, problems = _validated(document, settings)
    problems += [*check_names(document), *check_scope(document), *_twice(document, "keys", "key", str.lower)]
    problems += _twice(document, "hosts", "host", host_key)
    problems += check_plugins(document, settings.folder, find_plugins)
    return workspace, [_within(problem) for problem in problems]


def _validated(document: Document, settings: Settings) -> tuple[Workspace | None, list[Problem]]:
    try:
        return Workspace.model_validate(document.get(*_AT), context=Surroundings(settings.folder)), []
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        told = (problem_of({**each, "loc": (*_AT, *each["loc"])}, document) for each in found)
        return None, [each for each in told if each is not None]


def _twice(document: Document, name: str, noun: str, key: Callable[[str], str]) -> Iterator[Problem]:
    listed = document.get(*_AT, name)
    seen: set[str] = set()
    for index, text in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(text, str) and key(text) in seen:
            yield Problem(None, (*_AT, name, index), f"this {noun} stands in the list already")
        elif isinstance(text, str):
            seen.add(key(text))


def _surrogates(document: Document) -> Iterator[Problem]:
    for path, spot in document.spots.items():
        for text in (spot.text or "", *(part for part in path[-1:] if isinstance(part, str))):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                yield Problem(None, path[2:], "holds a lone surrogate, which no text can")


def _within(problem: Problem) -> Problem:
    path: Path = problem.path[2:] if problem.path[:2] == _AT else problem.path
    message = problem.message.replace("and YAML reads this as", "and this is")
    return Problem(None, path, message, problem.word, problem.names)
