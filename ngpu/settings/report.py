"""Problems, and the report that shows all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ngpu.errors import ConfigError
from ngpu.settings.nearest import nearest
from ngpu.settings.source import Place, Source, printable

SHOWN_PROBLEMS = 100
"""A report shows so many problems with their lines and says how many more there are."""

Path = tuple[str | int, ...]
"""Keys and indexes (from 0) from the top of the file down to a value."""

_PLAIN_KEY = re.compile(r"[\w-]+")
_MAPPINGS = frozenset({"ports", "labels", "env", "gates", "apps"})
"""Keys whose values are mappings, so that a number after one of them is a key, not an index."""

_SHOWN_TEXT = 60


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    ``place`` is ``None`` when it is about the file as a whole. ``word`` is what was written where one of ``names`` is
    expected; the nearest of them is shown. ``advice`` follows it.
    """

    place: Place | None
    path: Path
    message: str
    word: str = ""
    names: Sequence[str] = field(default=(), repr=False)

    def head(self, name: str) -> str:
        """``file:line:column: key.path: what is wrong (did you mean 'nearest'?)``."""
        where = name if self.place is None else f"{name}:{self.place.line}:{self.place.column}"
        return f"{where}: {dotted(self.path)}: {self.told}" if self.path else f"{where}: {self.told}"

    @property
    def told(self) -> str:
        """``what is wrong (did you mean 'nearest'?)``."""
        what = self.message
        meant = nearest(self.word, self.names)
        if meant is not None:
            what += f" (did you mean {quoted(meant)}?)"
        elif self.names and len(self.names) <= 30:
            what += f"; known here: {', '.join(shortened(each) for each in self.names)}"
        return what


class SettingsError(ConfigError):
    """A configuration that cannot be used; ``str()`` is the whole report, one block of lines a problem.

    ``problems`` has all of them, in the order of the file.
    """

    def __init__(self, source: Source, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.place or Place(0, 0)))
        shown = [_block(source, problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        more = len(self.problems) - len(shown)
        if more:
            shown.append(f"{source.name}: and {more} more")
        super().__init__("\n".join(shown), self.problems[0].path)


def _block(source: Source, problem: Problem) -> str:
    head = problem.head(source.name)
    return head if problem.place is None else "\n".join([head, *source.excerpt(problem.place)])


def dotted(path: Path) -> str:
    """A path as messages write it: ``workspaces[0].ports.8080``; keys of other characters stand in quotes."""
    parts: list[str] = []
    for index, part in enumerate(path):
        if isinstance(part, int) and index and path[index - 1] not in _MAPPINGS:
            parts.append(f"[{part}]")
        else:
            text = str(part)
            parts.append(f"{'.' if index else ''}{shortened(text) if _PLAIN_KEY.fullmatch(text) else quoted(text)}")
    return "".join(parts)


def quoted(text: str) -> str:
    """A name in a message: in quotes, on one line, not too long."""
    return f"'{shortened(text)}'"


def shortened(text: str) -> str:
    """At most 60 characters, all of them printable."""
    return printable(text if len(text) <= _SHOWN_TEXT else f"{text[:_SHOWN_TEXT]}…")
