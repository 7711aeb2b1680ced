"""Reading a plugin's options: each function takes one out of the block, or raises ConfigError with its path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from ngpu.errors import ConfigError
from ngpu.settings import units

Options = Mapping[str, Any]

_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?(/[A-Za-z0-9_.~%/-]*)?", re.ASCII)
_SECRET = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)


def duration(options: Options, name: str, default: str, most: float | None = None) -> float:
    """Seconds of a duration such as ``3s``, more than 0.

    :param most: seconds.
    """
    try:
        seconds = units.duration(options.get(name, default))
    except units.UnitError as error:
        raise ConfigError(str(error), (name,)) from None
    if seconds <= 0 or (most is not None and seconds > most):
        raise ConfigError("must be more than 0" + (f" and at most {most:g}s" if most is not None else ""), (name,))
    return seconds


def whole(options: Options, name: str, default: int, least: int, most: int) -> int:
    """A whole number."""
    value = options.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"must be a whole number from {least} to {most}", (name,))
    return value


def number(options: Options, name: str, most: int) -> Decimal | None:
    """A number above zero; ``None`` where it is left out."""
    value = options.get(name)
    if value is None:
        return None
    try:
        amount = Decimal(str(value)) if type(value) in (int, float) else Decimal(0)
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and 0 < amount <= most):
        raise ConfigError(f"must be a number above 0, at most {most}", (name,))
    return amount


def base_url(options: Options, name: str, default: str = "") -> str:
    """What stands before every path of a service: no credentials, query or fragment, and no slash behind it."""
    value = options.get(name, default)
    if not isinstance(value, str) or not _URL.fullmatch(value):
        raise ConfigError('must be a URL such as "http://127.0.0.1:8000", without credentials, query or "#"', (name,))
    return value.rstrip("/")


def file(options: Options, name: str, default: str, folder: str) -> Path:
    """The path of a file, which need not be there yet.

    :param folder: that relative paths are taken from.
    """
    value = options.get(name, default)
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError("must be the path of a file", (name,))
    return Path(folder, value)


def secret(options: Options, name: str, folder: str) -> str:
    """What a file holds: one line of printable ASCII, such as an API key.

    :param folder: that relative paths are taken from.
    """
    value = options.get(name)
    if value is None:
        raise ConfigError(f"{name} is missing: the file that holds it")
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError("must be the path of a file", (name,))
    try:
        text = Path(folder, value).read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", (name,)) from None
    except UnicodeDecodeError:
        text = ""
    if not _SECRET.fullmatch(text):
        raise ConfigError("the file must hold one line of printable ASCII without spaces, and nothing else", (name,))
    return text


def block(options: Options, name: str, keys: tuple[str, ...]) -> Options:
    """A mapping with known keys only; an empty one where it is left out."""
    value = options.get(name, {})
    if not isinstance(value, Mapping):
        raise ConfigError(f"must be a mapping with {' and '.join(keys)}", (name,))
    for key in value:
        if key not in keys:
            raise ConfigError(f"there is no such key; there are {', '.join(keys)}", (name, key))
    return value


class within:  # noqa: N801  # reads as a word: with within("rate"): ...
    """Puts the name of a nested block before the paths of the ConfigErrors that its reading raises."""

    def __init__(self, *path: str | int) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Lengthen the path."""
        if isinstance(error, ConfigError):
            error.path = (*self._path, *error.path)
