"""The store looks itself over: see `ngpu.auditing`. Each step is one script, so what it compares is of one moment."""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from ngpu.auditing import AuditPage, Finding, overdue
from ngpu.errors import BadRequest
from ngpu.stores.redis.script import MEMBERS, unfenced

KEYS_AT_ONCE, MEMBERS_AT_ONCE = 500, 200
"""Keys that one step looks for, and members of an index or records that one step compares."""

_EXPECTED = (
    MEMBERS
    + """
local ENDED = {finished = true, failed = true, cancelled = true, expired = true}
local function place(at, n, id) return at .. string.format('%012x', n) .. id end
local function has(key, id) return redis.call('ZSCORE', key, id) and true or false end
"""
)

RECORDS = unfenced(
    _EXPECTED
    + """
local seen = {}
for i, id in ipairs(ARGV) do
    local found = redis.call('HMGET', task(id), 's', 'w', 'n', 'at', 't', 'pr', 'key', 'node', 'address', 'run', 'out',
        'e', 'b', 'x', 'sub', 'app', 'hook')
    local s, w, n, at, turn, pr, key, node, address, run, out, e = unpack(found, 1, 12)
    if s then
        local wrong = {}
        local function must(is, wanted, where)
            if is ~= wanted then wrong[#wrong + 1] = (wanted and 'is missing in ' or 'must not be in ') .. where end
        end
        local queued, runs, ended = s == 'queued', s == 'running', ENDED[s] or false
        if not (queued or runs or ended) then wrong[#wrong + 1] = 'has the unknown status ' .. s end
        must(has(queue(w), standing(turn, id)), queued, 'queue')
        must(has(P .. ':expiring', id), queued, 'expiring')
        must(has(P .. ':live:' .. w .. ':' .. pr, id), queued or runs, 'live')
        must(has(P .. ':time:' .. w, place(at, n, id)), true, 'time')
        if runs then must(run and run ~= '' and has(running(run), id) or false, true, 'running') end
        local due = has(P .. ':webhooks:' .. w, id)
        must(has(P .. ':ended:' .. w, id), ended and not due, 'ended')
        if not ended then must(due, false, 'webhooks') end
        if key ~= '' then must(redis.call('HGET', P .. ':keys:' .. w, key) == id, true, 'keys') end
        if node ~= '' then must(has(P .. ':node:' .. w .. ':' .. node, place(at, n, id)), true, 'node') end
        if address ~= '' then must(has(P .. ':address:' .. w .. ':' .. address, place(at, n, id)), true, 'address') end
        if (e ~= '') ~= ended then wrong[#wrong + 1] = 'is ' .. s .. (ended and ' without' or ' with') .. ' an end' end
        local known = s == 'finished' or s == 'failed'
        if (out ~= '') ~= known then
            wrong[#wrong + 1] = 'is ' .. s .. (known and ' without' or ' with') .. ' an outcome'
        end
        seen[#seen + 1] = {id, w, s, wrong, found[13], found[14], found[15]}
    end
end
if #seen == 0 then return '[]' end
for _, each in ipairs(seen) do if #each[4] == 0 then each[4] = cjson.null end end
return cjson.encode(seen)
"""
)
"""Of each task that is there: id, workspace, status, what is wrong with its indexes, and what tells its time."""

INDEX = unfenced(
    _EXPECTED
    + """
local kind, name, w = ARGV[1], ARGV[2], ARGV[3]
local wrong = {}
for i = 4, #ARGV do
    local member = ARGV[i]
    local id = member
    if kind == 'queue' then id = string.sub(member, 13)
    elseif kind == 'time' or kind == 'node' or kind == 'address' then id = string.sub(member, 29)
    elseif kind == 'keys' then id = redis.call('HGET', name, member) end
    if id then
        local there = kind == 'keys'
        if kind == 'dead' then there = redis.call('SISMEMBER', name, member) == 1
        elseif not there then there = redis.call('ZSCORE', name, member) end
        local s, of, run, key, node, address =
            unpack(redis.call('HMGET', task(id), 's', 'w', 'run', 'key', 'node', 'address'))
        local right = s and true or false
        if kind == 'queue' then right = s == 'queued' and of == w
        elseif kind == 'expiring' then right = s == 'queued'
        elseif kind == 'running' then right = s == 'running' and run == w
        elseif kind == 'live' then right = (s == 'queued' or s == 'running') and w == of
        elseif kind == 'ended' or kind == 'webhooks' or kind == 'dead' then right = ENDED[s] and of == w
        elseif kind == 'keys' then right = of == w and key == member
        elseif kind == 'time' then right = of == w
        elseif kind == 'node' then right = of and of .. ':' .. node == w
        elseif kind == 'address' then right = of and of .. ':' .. address == w end
        if there and not right then wrong[#wrong + 1] = {id, s or 'gone'} end
    end
end
if #wrong == 0 then return '[]' end
return cjson.encode(wrong)
"""
)
"""Members of an index that no record agrees with: task and status."""

GATEWAYS = unfenced(
    MEMBERS
    + """
local found = {}
local names = {}
for _, identity in ipairs(redis.call('SMEMBERS', P .. ':gateways')) do names[identity] = 'gateways' end
for _, identity in ipairs(redis.call('SMEMBERS', P .. ':gone')) do names[identity] = names[identity] or 'gone' end
for i = 1, #ARGV do names[ARGV[i]] = names[ARGV[i]] or '' end
for identity, where in pairs(names) do
    local heard = redis.call('EXISTS', P .. ':gateway:' .. identity) == 1
    found[#found + 1] = {identity, where, heard, redis.call('ZCARD', running(identity))}
end
if #found == 0 then return '[]' end
return cjson.encode(found)
"""
)
"""Of each gateway that may write, is gone or has tasks: which of these, whether it is heard of, how many it runs."""

_SORTED = ("queue", "expiring", "running", "live", "ended", "webhooks", "time", "node", "address")
_SCANS = {**dict.fromkeys(_SORTED, "ZSCAN"), "keys": "HSCAN", "dead": "SSCAN"}

Read = Callable[..., Awaitable[Any]]
Plain = Callable[..., Awaitable[Any]]


class Audit:
    """Looks at one part of the keys.

    :param read: calls a script.
    :param plain: gives a command that changes nothing.
    """

    def __init__(self, read: Read, plain: Plain, prefix: str, now: float) -> None:
        self._read = read
        self._plain = plain
        self._prefix = prefix
        self._now = now
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._accepted: dict[str, int] = {}
        self._findings: list[Finding] = []

    async def page(self, cursor: str | None) -> AuditPage:
        """The part at a cursor. A key may be in two of them, where Redis moves its keys meanwhile."""
        at = "0" if cursor is None else _decoded(cursor)
        # a prefix has letters, digits and '.', '_', '-': nothing that a pattern would take for its own
        following, keys = await self._plain("SCAN", at, "MATCH", f"{self._prefix}:*", "COUNT", KEYS_AT_ONCE)
        names = [_text(key)[len(self._prefix) + 1 :] for key in keys]
        tasks = [name.removeprefix("task:") for name in names if name.startswith("task:")]
        for some in _pieces(tasks, MEMBERS_AT_ONCE):
            await self._records(some)
        for name in names:
            kind, _, of = name.partition(":")
            if kind in _SCANS:
                await self._index(kind, name, of)
        if cursor is None:
            await self._gateways()
        following = _text(following)
        return AuditPage(
            self._counts, self._accepted, self._findings, None if following == "0" else _encoded(following)
        )

    async def _records(self, ids: Sequence[str]) -> None:
        for task_id, workspace, status, wrong, began, expires, submission in await self._read(RECORDS, *ids):
            self._counts[workspace][status] += 1
            for words in wrong or ():
                self._findings.append(Finding("index", task_id, f"is {status}, and {words}"))
            about = json.loads(submission)
            timed = about["method"] == "schedulingTask" and not about.get("app")
            timeout = float(about["timeout"]) if timed else 0.0
            late = overdue(status, float(began) if began else None, timeout, float(expires), self._now)
            if late:
                self._findings.append(Finding("stuck", task_id, late, lasting=False))

    async def _index(self, kind: str, name: str, of: str) -> None:
        whole = f"{self._prefix}:{name}"
        owner = of.rpartition(":")[0] if kind == "live" else of
        if kind == "time":
            self._accepted[of] = int(await self._plain("ZCARD", whole))
        at = "0"
        while True:
            at, found = await self._plain(_SCANS[kind], whole, at, "COUNT", MEMBERS_AT_ONCE)
            members = [_text(member) for member in (found if kind == "dead" else found[::2])]
            for some in _pieces(members, MEMBERS_AT_ONCE):
                for task_id, status in await self._read(INDEX, kind, whole, owner, *some):
                    words = f"stands in {name}, and is {status}"
                    self._findings.append(Finding("index", task_id, words))
            if _text(at) == "0":
                break

    async def _gateways(self) -> None:
        for identity, where, heard, runs in await self._read(GATEWAYS):
            if runs and where == "gone":
                words = f"is gone, and {runs} tasks that it ran were not taken over yet"
                self._findings.append(Finding("stuck", identity, words, lasting=False))
            elif not heard and where == "gateways":
                words = f"was not heard of lately, counts as there, and runs {runs} tasks"
                self._findings.append(Finding("stuck", identity, words, lasting=False))


def _pieces(members: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(members), most):
        yield members[start : start + most]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _encoded(at: str) -> str:
    return base64.urlsafe_b64encode(at.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    try:
        at = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        at = ""
    if not at.isdigit() or len(at) > 20:
        raise BadRequest("cursor: none that this gateway gave")
    return at
