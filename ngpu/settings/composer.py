"""YAML text → nodes, by PyYAML's safe events, in bounded time and memory.

PyYAML's own composer recurses as deep as the text does (libyaml's can overflow the C stack), drops duplicate keys
without a word and keeps nothing of how a value was written; this one works on the same events with a stack of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from ngpu.settings.merging import closed_pairs
from ngpu.settings.node import ListNode, MapNode, Node, ScalarNode
from ngpu.settings.report import Path, Problem, shortened
from ngpu.settings.scalar import BROKEN, Refused, read_scalar
from ngpu.settings.secrecy import is_secret, is_secret_key
from ngpu.settings.source import Place, place_at

MAX_DEPTH = 64
"""How deep lists and mappings may stand in each other."""

MAX_NODES = 100_000
"""How many values a text may have, each counted as often as aliases and merges repeat it."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_TAB = "a tab stands where YAML wants spaces"
_IN_PLAIN_ENGLISH = (
    ("found character that cannot start any token", "a value cannot begin with this character: put it in quotes"),
    (
        "mapping values are not allowed",
        "a ': ' too many in this line: put the text in quotes, or check the indentation",
    ),
    ("found unexpected end of stream", "the quote that opens here is never closed"),
    ("did not find expected ',' or", "this bracket is never closed, or a ',' is missing"),
    ("did not find expected node content", "a value is missing here, or a bracket is never closed"),
    ("expected alphabetic or numeric", "text that begins with '*' or '&' has to stand in quotes"),
    ("could not find expected ':'", "a key without its ':'"),
    (
        "did not find expected key",
        "this fits no key: check the indentation, and that every bracket and quote is closed",
    ),
    ("maximum nesting depth", f"lists and mappings stand more than {MAX_DEPTH} deep in each other"),
    ("did not find expected '-' indicator", "a '- ' is missing here: check the indentation"),
)


class Unreadable(Exception):
    """Nothing after this problem can be read; ``found`` are the problems before it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.found: tuple[Problem, ...] = ()


class Composer:
    """Reads one text; ``problems`` are those it could read on from."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self._text = text
        self._anchors: dict[str, Node] = {}
        self._open: list[ListNode | MapNode] = []
        self._keys: list[list[ScalarNode]] = []
        """For each open mapping or list, the key whose value comes next, if there is one."""
        self._secret: list[bool] = []
        """For each open mapping or list, whether what is in it may be a secret."""
        self.secrets: list[ScalarNode] = []
        """Values that may be secret, those of keys that are dropped too."""
        self._root: Node | None = None
        self._count = 0

    def compose(self) -> Node | None:
        """The text's one document; ``None`` when there is nothing in it.

        :raises Unreadable: it is no YAML, or breaks a limit.
        """
        bad = _UNREADABLE.search(self._text)
        if bad:
            raise Unreadable(Problem(place_at(self._text, bad.start()), (), "this character is not allowed in YAML"))
        loader = _LOADER(self._text)
        documents = 0
        try:
            for event in _events(loader):
                documents += isinstance(event, yaml.DocumentStartEvent)
                if documents > 1:
                    raise Unreadable(Problem(_start(event), (), "a second document begins here; there can be only one"))
                self._take(event, loader)
        except yaml.YAMLError as error:
            raise Unreadable(self._syntax_problem(error)) from None
        finally:
            loader.dispose()
        return self._root

    def _take(self, event: Any, loader: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._attach(self._scalar(event, loader), event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._attach(self._aliased(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()

    def _scalar(self, event: Any, loader: Any) -> ScalarNode:
        tag = event.tag
        if tag is None or tag == "!":
            tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        node = ScalarNode(_start(event), _place(event.end_mark), event.value)
        node.merges = tag == "tag:yaml.org,2002:merge"
        try:
            node.value = read_scalar(tag, event.value)
        except Refused as refused:
            node.value = BROKEN
            self._refuse(node.start, str(refused) + self._quoting(event.value if refused.quotable else None))
        return node

    def _quoting(self, text: str | None) -> str:
        if text is None:
            return ""
        return ": put it in quotes" if is_secret(self._path()) else f': put it in quotes, "{shortened(text)}"'

    def _aliased(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            self._refuse(_start(event), f"no &{event.anchor} stands before this alias", event.anchor, self._anchors)
        elif not isinstance(node, ScalarNode) and node.open:
            self._refuse(_start(event), f"*{event.anchor} stands inside of what it repeats")
        else:
            return node
        return ScalarNode(_start(event), _place(event.end_mark), value=BROKEN)

    def _begin(self, event: Any) -> None:
        is_map = isinstance(event, yaml.MappingStartEvent)
        node = MapNode(_start(event)) if is_map else ListNode(_start(event))
        if event.tag not in (None, "!", f"tag:yaml.org,2002:{'map' if is_map else 'seq'}"):
            self._refuse(node.start, "this tag is not allowed: only plain values, lists and mappings are")
        if len(self._open) >= MAX_DEPTH:
            raise Unreadable(Problem(node.start, (), f"lists and mappings stand more than {MAX_DEPTH} deep here"))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._secret.append(self._is_secret())
        self._open.append(node)
        self._keys.append([])

    def _end(self) -> None:
        node = self._open.pop()
        self._keys.pop()
        self._secret.pop()
        if isinstance(node, MapNode):
            path = self._path()
            node.pairs = closed_pairs(node, path, self.problems, self._spend)
        node.open = False
        self._attach(node)

    def _attach(self, node: Node, anchor: str | None = None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._spend(1, node.start)
        if not self._open:
            self._root = node
            return
        parent, keys = self._open[-1], self._keys[-1]
        if isinstance(node, ScalarNode) and (keys or isinstance(parent, ListNode)) and self._is_secret():
            self.secrets.append(node)
        if isinstance(parent, ListNode):
            parent.items.append(node)
        elif keys:
            parent.pairs.append((keys.pop(), node))
        else:
            keys.append(self._as_key(node))

    def _is_secret(self) -> bool:
        """Whether the next node may be one: it is in a secret block, or the value of a secret key."""
        return bool(self._open) and (
            self._secret[-1] or any(key.value is not BROKEN and is_secret_key(key.value) for key in self._keys[-1])
        )

    def _as_key(self, node: Node) -> ScalarNode:
        if not isinstance(node, ScalarNode):
            self._refuse(node.start, "a key must be a plain name, not a list or a mapping")
            return ScalarNode(node.start, node.start, value=BROKEN)
        if node.value is BROKEN or isinstance(node.value, str) or type(node.value) is int:
            return node
        read = {True: "true", False: "false", None: "nothing"}.get(node.value, "a number")
        self._refuse(node.start, f"YAML reads this key as {read}{self._quoting(node.text)}")
        return ScalarNode(node.start, node.end, node.text, BROKEN)

    def _spend(self, count: int, place: Place) -> None:
        self._count += count
        if self._count > MAX_NODES:
            raise Unreadable(Problem(place, self._path(), f"more than {MAX_NODES} values, up to here"))

    def _path(self) -> Path:
        """Where the next node goes."""
        path: list[str | int] = []
        for parent, keys in zip(self._open, self._keys, strict=True):
            if isinstance(parent, ListNode):
                path.append(len(parent.items))
            elif keys:
                path.append(keys[0].value if keys[0].value is not BROKEN else keys[0].text)
        return tuple(path)

    def _refuse(self, place: Place, why: str, word: str = "", names: Any = ()) -> None:
        self.problems.append(Problem(place, self._path(), why, word, tuple(names) if word else ()))

    def _syntax_problem(self, error: yaml.YAMLError) -> Problem:
        found = getattr(error, "problem", None) or "this cannot be read"
        context = getattr(error, "context_mark", None)
        mark = getattr(error, "problem_mark", None) or context
        if mark is None:
            return Problem(Place(1, 1), (), f"not valid YAML: {found}")
        if context is not None and (self._ended(mark) or "find expected ':'" in found):
            mark = context  # where it was opened says more than the end of the file
        meant = next((plain for token, plain in _IN_PLAIN_ENGLISH if token in found), found)
        if self._text[mark.index : mark.index + 1] == "\t":
            meant = _TAB
        began = "" if context is None or context.line == mark.line else f" (this part began in line {context.line + 1})"
        place = place_at(self._text, len(self._text.rstrip())) if self._ended(mark) else _place(mark)
        return Problem(place, (), f"not valid YAML: {meant}{began}")

    def _ended(self, mark: Any) -> bool:
        return not self._text[mark.index :].strip()


def _events(loader: Any) -> Iterator[Any]:
    while loader.check_event():
        yield loader.get_event()


def _start(event: Any) -> Place:
    return _place(event.start_mark)


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)
