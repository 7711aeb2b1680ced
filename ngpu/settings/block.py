"""What every block of the configuration has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

K = TypeVar("K")
V = TypeVar("V")

FrozenMap = Annotated[Mapping[K, V], AfterValidator(MappingProxyType)]
"""A mapping that nobody can change, in the order of the file."""


class Block(BaseModel):
    """A block of the configuration: frozen, with known keys only."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Surroundings(NamedTuple):
    """What the validation of a value may know beside the value: the folder that relative paths are taken from."""

    folder: Path


def written(default: object) -> Any:
    """A default as an operator would write it, such as ``"10s"``; it is validated as if it stood in the file."""
    return Field(default=default, validate_default=True)


def concealed(default: object) -> Any:
    """The default of a value that may be secret: it is left out when the block is printed."""
    return Field(default=default, validate_default=True, repr=False)


OURS = "ngpu"
"""The type of the errors that our own validators raise."""


def refusal(why: str, word: str = "", names: Sequence[str] = (), *, quotable: bool = False) -> PydanticCustomError:
    """The error of a value.

    :param why: in plain English, continuing "<key.path>: ", without the value itself.
    :param word: what was written where one of ``names`` is expected.
    :param quotable: the value would be right if it stood in quotes.
    """
    context = {"why": why, "word": word, "names": tuple(names), "quotable": quotable}
    return PydanticCustomError(OURS, "{why}", context)
