"""Writing a new plugin: a sketch of its family (``ngpu.sketches``), under another name, and a test beside it."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import ngpu
from ngpu.errors import NgpuError
from ngpu.families import FAMILIES, LONGEST_NAME, is_module_name

_SKETCHES = Path(ngpu.__file__).parent / "sketches"


class Refused(NgpuError):
    """No plugin of that family, name or place can be written."""


def write_plugin(family: str, name: str, folder: Path, taken: Collection[str] = ()) -> tuple[Path, Path]:
    """Write ``folder/NAME.py`` and ``folder/tests/test_NAME.py``; the folders are made where they are missing.

    :param taken: names of plugins and files that are there already, and would be in its way.
    :returns: the two files.
    :raises Refused: the family is unknown, the name will not do, or a file is there already or cannot be written.
    """
    if family not in FAMILIES:
        raise Refused(f"there is no family {family!r}; there are {', '.join(FAMILIES)}")
    if not (_SKETCHES / f"{family}.py").exists():
        raise Refused(f"there is no short {family} plugin to begin with; docs/plugins.md says how to write one")
    if not is_module_name(name):
        raise Refused(
            f"a plugin cannot be called {name!r}; a name is snake_case, such as newest or my_policy, at most "
            f"{LONGEST_NAME} characters long, and no word of Python"
        )
    if name in taken:
        raise Refused(f"there is a plugin {name!r} already; choose another name")
    if {name, _title(name)} & {word for sketch in (f"{family}.py", f"{family}_test.py") for word in _words(sketch)}:
        raise Refused(f"{name!r} means something else within a plugin's file; choose another name")
    plugin, test = folder / f"{name}.py", folder / "tests" / f"test_{name}.py"
    for file in (plugin, test):
        if file.exists() or file.is_symlink():
            raise Refused(f"{file} is there already; choose another name, or move it away")
    try:
        test.parent.mkdir(parents=True, exist_ok=True)
        _write(plugin, _renamed(f"{family}.py", name))
        try:
            _write(test, _renamed(f"{family}_test.py", name))
        except OSError:
            plugin.unlink()
            raise
    except OSError as error:
        raise Refused(f"cannot write to {folder}: {error.strerror}") from None
    return plugin, test


def _renamed(sketch: str, name: str) -> str:
    """A sketch, with the names of its ``example`` changed."""
    text = (_SKETCHES / sketch).read_text("utf-8")
    return re.sub(r"\bExample\b", _title(name), re.sub(r"\bexample\b", name, text))


def _title(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _words(sketch: str) -> Iterator[str]:
    """What a sketch's code uses names for; another meaning of one would break it."""
    yield from vars(builtins)
    for node in ast.walk(ast.parse((_SKETCHES / sketch).read_text("utf-8"))):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
            yield from (argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg))


def _write(file: Path, text: str) -> None:
    """Whole or not at all."""
    out = file.open("x", encoding="utf-8")
    try:
        with out:
            out.write(text)
    except OSError:
        file.unlink()
        raise
