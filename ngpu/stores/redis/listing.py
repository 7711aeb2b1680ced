"""Pages of tasks, out of indexes in the lexical order of time, number and id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ngpu.listing import TaskPage, TaskQuery
from ngpu.model import node_key
from ngpu.stores import cursor
from ngpu.stores.record import search_key
from ngpu.stores.redis.records import moment_of, sortable

LOOKED_AT = 1000
"""Places that one call looks at, so that no other call waits for long."""

_TIME, _NUMBER = 16, 12
_PAST = b"\xff"
"""Comes after every byte of UTF-8."""

Look = Callable[[str, bytes, bytes, int, str, str], Awaitable[Any]]
"""`reads.PAGE`: index, two bounds, how many places to look at, the node to look for, "1" for downwards."""


async def page(look: Look, query: TaskQuery) -> TaskPage:
    """See ``ITaskStore.list``. One more than the page holds is looked for: it says whether another page follows.

    :raises BadRequest: a cursor that this store never gave.
    """
    if (query.node is not None and not node_key(query.node)) or query.btc_address == "":
        return TaskPage(())
    begin, end = _bounds(query)
    down = "1" if query.newest else ""
    if query.newest:
        begin, end = end, begin
    node = "" if query.node is None else search_key(node_key(query.node))
    places: list[str] = []
    while len(places) <= query.limit:
        wanted = min(query.limit + 1 - len(places), LOOKED_AT) if query.btc_address is None or not node else LOOKED_AT
        only = node if query.btc_address is not None else ""
        found, last = await look(_index(query, node), begin, end, wanted, only, down)
        places += found or ()
        if not last:
            break
        begin = b"(" + last.encode()
    shown = places[: query.limit]
    more = len(places) > len(shown) > 0
    ids = tuple(place[_TIME + _NUMBER :] for place in shown)
    return TaskPage(ids, cursor.encode(*_place(shown[-1])) if more else None)


def _index(query: TaskQuery, node: str) -> str:
    if query.btc_address is not None:
        return f":address:{query.workspace}:{search_key(query.btc_address)}"
    return f":node:{query.workspace}:{node}" if node else f":time:{query.workspace}"


def _bounds(query: TaskQuery) -> tuple[bytes, bytes]:
    """The lowest and the highest place."""
    begins, ends = [b"["], [b"[" + _PAST]
    if query.start is not None:
        begins.append(b"[" + sortable(query.start).encode())
    if query.end is not None:
        ends.append(b"[" + sortable(query.end).encode() + _PAST)
    if query.cursor is not None:
        after = cursor.decode(query.cursor)
        number = min(after.number, 16**_NUMBER - 1)
        at = f"{sortable(after.submitted_at)}{number:012x}".encode()  # of which a task's place goes on with its id
        (ends if query.newest else begins).append(b"(" + at + (b"" if query.newest else _PAST))
    return max(begins, key=lambda bound: bound[1:]), min(ends, key=lambda bound: bound[1:])


def _place(place: str) -> tuple[float, int]:
    return moment_of(place[:_TIME]), int(place[_TIME : _TIME + _NUMBER], 16)
