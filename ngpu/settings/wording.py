"""pydantic's errors → problems in plain English, each with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ngpu.settings.block import OURS
from ngpu.settings.document import Document
from ngpu.settings.report import Path, Problem, quoted, shortened
from ngpu.settings.scalar import BROKEN
from ngpu.settings.secrecy import is_secret
from ngpu.settings.shape import TAGS, keys_at

_KEY = "[key]"
_CHOICE = re.compile(r"'([^']*)'")


def problem_of(error: Mapping[str, Any], document: Document) -> Problem | None:
    """One of ``ValidationError.errors()`` as a problem; ``None`` when the value's problem is known already."""
    location: tuple[Any, ...] = error["loc"]
    path, at_key, broken = _resolved(location, document)
    if broken:
        return None
    spot = document.spot(path)
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("extra_forbidden", "invalid_key"):
        parent, known = path[:-1], keys_at(location[:-1])
        where = "there is no such key here" if parent else "there is no such key"
        return Problem(spot.first, path, where, str(path[-1]), known)
    if kind == "too_short" and document.get(*path):
        return None  # it has entries, and each has a problem of its own
    if kind == "missing":
        return Problem(spot.first, path, "is missing")
    if kind == OURS:
        why = context["why"] + (_in_quotes(path, spot.text) if context["quotable"] else "")
        return Problem(spot.first if at_key else spot.value, path, why, context["word"], context["names"])
    if kind == "literal_error":
        names = tuple(_CHOICE.findall(context["expected"]))
        value = document.get(*path)
        word = value if isinstance(value, str) else ""
        return Problem(spot.value, path, f"must be {_either(names)}{_misread(value)}", word, names if word else ())
    if at_key:
        if kind == "string_type":
            return Problem(spot.first, path, f"YAML reads this key as a number{_in_quotes(path, str(path[-1]))}")
        return Problem(spot.first, path, f"this key {_sentence(kind, context, path[-1], path, None)}")
    return Problem(spot.value, path, _sentence(kind, context, document.get(*path), path, spot.text))


def _resolved(location: Sequence[Any], document: Document) -> tuple[Path, bool, bool]:
    """A location of pydantic's as a path of the file; whether it means a key; whether a BROKEN value stands there."""
    path: list[str | int] = []
    value = document.values
    for index, part in enumerate(location):
        if value is BROKEN:
            return tuple(path), False, True
        if isinstance(value, dict):
            # pydantic writes keys of other types than int and str as text
            found = part if part in value else next((key for key in value if str(key) == str(part)), None)
            if found is not None:
                path.append(found)
                value = value[found]
                continue
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            path.append(part)
            value = value[part]
            continue
        if part == _KEY:
            return tuple(path), True, False
        if part not in TAGS:
            return (*path, *(each for each in location[index:] if each not in TAGS)), False, False
    return tuple(path), False, value is BROKEN


def _sentence(kind: str, context: Mapping[str, Any], value: Any, path: Path, text: str | None) -> str:
    """What is wrong with a value of the wrong type or out of range."""
    if value is None:
        return "has no value: write one, or leave the key out"
    if kind == "string_type":
        return _not_text(value, path, text)
    if kind in ("int_type", "int_parsing"):
        plain = isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value, re.ASCII)
        return "must be a whole number" + (", without quotes" if plain else _misread(value))
    if kind == "bool_type":
        return "must be true or false" + (", without quotes" if value in ("true", "false") else "")
    if kind in ("tuple_type", "list_type"):
        if isinstance(value, str | int | float) and not is_secret(path):
            return f'must be a list, even of one: ["{shortened(str(text))}"]'
        return "must be a list"
    if kind in ("dict_type", "mapping_type", "model_type", "model_attributes_type"):
        return f"must be a block of keys and values, not {_noun(value)}"
    return _out_of_range(kind, context)


def _out_of_range(kind: str, context: Mapping[str, Any]) -> str:
    if kind == "too_short":
        return "must have at least one entry"
    if kind == "too_long":
        return f"must have at most {context['max_length']} entries"
    if kind == "greater_than_equal":
        return f"must be {context['ge']} or more"
    if kind == "less_than_equal":
        return f"must be {context['le']} or less"
    return "is not valid here"


def _not_text(value: Any, path: Path, text: str | None) -> str:
    if isinstance(value, dict | list):
        return f"must be text, not {_noun(value)}"
    read = f"as {str(value).lower()}" if isinstance(value, bool) else "as a number"
    return f"must be text, and YAML reads this {read}{_in_quotes(path, text)}"


def _in_quotes(path: Path, text: str | None) -> str:
    if text is None or is_secret(path):
        return ": put it in quotes"
    return f': put it in quotes, "{shortened(text)}"'


def _misread(value: Any) -> str:
    return "" if isinstance(value, str) or value is None else f", not {_noun(value)}"


def _noun(value: Any) -> str:
    if isinstance(value, dict):
        return "a block of keys and values"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return "text" if isinstance(value, str) else "a fraction" if isinstance(value, float) else "a number"


def _either(names: Sequence[str]) -> str:
    shown = [quoted(name) for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
