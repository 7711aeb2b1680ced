"""Which keys a block has, found by walking the models the way pydantic's error locations do."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import Tag

from ngpu.settings.block import Block
from ngpu.settings.root import Settings

TAGS: Final = frozenset({"<query>", "<route>"})
"""What pydantic puts into locations for the members of our unions; no part of the file."""


def keys_at(location: Sequence[str | int]) -> tuple[str, ...]:
    """The keys of the block at ``location``; none where no block stands there."""
    kind: Any = Settings
    for part in location:
        kind = _inside(kind, part)
    kind = _bare(kind)
    return tuple(kind.model_fields) if _is_block(kind) else ()


def _inside(kind: Any, part: str | int) -> Any:
    kind = _bare(kind)
    if _is_block(kind):
        field = kind.model_fields.get(part)
        return field.annotation if field else None
    arguments = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return next((each for each in arguments if _tag(each) == part), None)
    if not arguments:
        return None
    return arguments[0] if get_origin(kind) is tuple else arguments[-1]


def _bare(kind: Any) -> Any:
    while True:
        if get_origin(kind) is Annotated or (get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)):
            kind = get_args(kind)[0]
        else:
            return kind


def _tag(kind: Any) -> str | None:
    tags = [each.tag for each in getattr(kind, "__metadata__", ()) if isinstance(each, Tag)]
    return tags[0] if tags else None


def _is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Block)
