"""What adapters read from their options, beside what `ngpu.options` has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ngpu.errors import ConfigError

_FIELD = re.compile(r"[^\s.]+(\.[^\s.]+)*")
_PATH = re.compile(r"/?[A-Za-z0-9_.~!$&'()*+,;=:@%/-]*", re.ASCII)


def text(options: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text that is not empty; one without a default has to be there."""
    value = options.get(name, default)
    if value is None:
        raise ConfigError(f"{name} is missing")
    if not isinstance(value, str) or not value:
        raise ConfigError("must be a text", (name,))
    return value


def one_of(options: Mapping[str, Any], name: str, choices: Sequence[str], default: str | None = None) -> str:
    """One of these words."""
    value = text(options, name, default)
    if value not in choices:
        raise ConfigError(f"must be {' or '.join(choices)}", (name,))
    return value


def path(options: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A path on the worker, with its slash in front."""
    value = text(options, name, default)
    if not _PATH.fullmatch(value) or ".." in value.split("/"):
        raise ConfigError("must be a path on the worker, such as removeBG, without query or '..'", (name,))
    return "/" + value.removeprefix("/")


def field(options: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """The name of a member, or several with dots between them: ``data.task_id``."""
    value = text(options, name, default)
    if not _FIELD.fullmatch(value):
        raise ConfigError("must be a field's name, or several with dots between them", (name,))
    return value


def fields(options: Mapping[str, Any], name: str, default: Sequence[str]) -> tuple[str, ...]:
    """A list of such names, or one of them."""
    value = options.get(name, default)
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, Sequence):
        raise ConfigError("must be a field's name or a list of them", (name,))
    return tuple(field({name: each}, name) for each in listed)


def codes(options: Mapping[str, Any], name: str, default: Sequence[int]) -> frozenset[int]:
    """A list of a worker's number codes."""
    value = options.get(name, default)
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(type(each) is int for each in value):
        raise ConfigError("must be a list of whole numbers, such as [101, 102]", (name,))
    return frozenset(value)


def port(options: Mapping[str, Any], name: str) -> int | None:
    """A declared port, where one is said."""
    value = options.get(name)
    if value is not None and (type(value) is not int or not 1 <= value <= 65535):
        raise ConfigError("must be a port number", (name,))
    return value


def mapping(options: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping with any members; an empty one where it is left out."""
    value = options.get(name, {})
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError("must be a mapping", (name,))
    return value


def member(document: Any, dotted: str) -> Any:
    """What stands in a JSON document under such a name; ``None`` where nothing does."""
    for name in dotted.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document
