"""Lua scripts: what they have in common, and how one is called.

Every script gets ``<prefix>:`` as ``KEYS[1]`` and makes the keys' names of it, so one Redis has to hold them all: a
Redis Cluster will not do. A user that may do no more than it needs gets the keys ``<prefix>:*``. Scripts answer with
JSON, in one piece.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_HEAD = """
local P = string.sub(KEYS[1], 1, -2)
local function task(id) return P .. ':task:' .. id end
local function queue(w) return P .. ':queue:' .. w end
local function say(topic, words) redis.call('PUBLISH', P .. ':say:' .. topic, ' ' .. words) end
local function standing(turn, id) return string.format('%012x', turn) .. id end
local function record(id)
    local kept = redis.call('HMGET', task(id), 'n', 'w', 's', 'a', 'sent', 'x', 'b', 'e', 'pl', 'out', 'cp', 'sub',
        'pr', 'p', 're', 'hook', 'key')
    kept[18] = id
    return kept
end
"""

_OWNED = """
if redis.call('GET', P .. ':fence') ~= ARGV[1] then return redis.error_reply('FENCED another gateway has the store') end
local slot, serial = ARGV[2], ARGV[3]
local kept = redis.call('HGET', P .. ':answers', slot)
if kept then
    local space = string.find(kept, ' ', 1, true)
    local before = tonumber(string.sub(kept, 1, space - 1))
    if before == tonumber(serial) then return string.sub(kept, space + 1) end
    if before > tonumber(serial) then return redis.error_reply('STALE this call was given up') end
end
local function answer(value)
    local text = cjson.encode(value)
    redis.call('HSET', P .. ':answers', slot, serial .. ' ' .. text)
    return text
end
"""
"""A write is made by the gateway that has the store, and once.

Each call has a slot of its own while it is on its way, and a serial that grows. What a call was answered stands in its
slot, so that asking again after a lost reply gives the same answer and changes nothing; a copy that comes late, after
the slot was used again or its call was given up, finds a higher serial and is refused.
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis takes it; one that writes is called with fence, slot and serial before its own arguments."""

    text: str
    digest: str
    writes: bool


def unfenced(text: str) -> Script:
    """A script that only looks, or is about the fence itself."""
    return _script(_HEAD + text, False)


def writing(text: str) -> Script:
    """A script that changes something; its own arguments begin at ``ARGV[4]``, and it ends with ``answer(…)``."""
    return _script(_HEAD + _OWNED + text, True)


def _script(text: str, writes: bool) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), writes)


SETTLE = _script(
    _HEAD
    + """
if redis.call('GET', P .. ':fence') ~= ARGV[1] then return redis.error_reply('FENCED another gateway has the store') end
local kept = redis.call('HGET', P .. ':answers', ARGV[2])
if kept then
    local space = string.find(kept, ' ', 1, true)
    if tonumber(string.sub(kept, 1, space - 1)) == tonumber(ARGV[3]) then return string.sub(kept, space + 1) end
end
redis.call('HSET', P .. ':answers', ARGV[2], ARGV[3] .. ' null')
return 'null'
""",
    True,
)
"""What became of a call that was given up: its answer; ``null``, and from now on it cannot be made any more."""
