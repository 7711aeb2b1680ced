"""The scripts that bring a task in, with its request. Each is one step: all of it, or nothing."""

from __future__ import annotations

from typing import Any

from ngpu.stores.redis.script import Script
from ngpu.stores.redis.steps import changing

ADD = changing("""
local id, w, s, a, sent, x, b, e = unpack(ARGV, 4, 11)
local pl, out, cp, sub, at, node, address = unpack(ARGV, 12, 18)
local priority, p, retries, webhook, key = unpack(ARGV, 19, 23)
local limit, quota, window, token, pieces, data, result = unpack(ARGV, 24, 30)
local ours = (redis.call('HGET', P .. ':uploads', id) or '') == token
local known = same_key(w, key)
if known then
    if token ~= '' and ours then
        redis.call('HDEL', P .. ':uploads', id)
        redis.call('UNLINK', P .. ':request:' .. id)
    end
    return answer(known)
end
local refusal = refused(w, limit, quota, window)
if refusal then return answer(refusal) end
if redis.call('EXISTS', task(id)) == 1 then return answer('taken') end
if not ours then return answer(token == '' and 'taken' or 'gone') end
if token ~= '' and redis.call('HLEN', P .. ':request:' .. id) < tonumber(pieces) then return answer('gone') end
local n = redis.call('INCR', P .. ':number')
count(w, window)
p = behind_its_own(w, priority, p)
redis.call('HSET', task(id), 'n', n, 'w', w, 's', s, 'a', a, 'sent', sent, 'x', x, 'b', b, 'e', e, 'pl', pl, 'out', out,
    'cp', cp, 'sub', sub, 'at', at, 'node', node, 'address', address, 'pr', priority, 'p', p, 't', n, 're', retries,
    'hook', webhook, 'key', key)
if token ~= '' then
    redis.call('HDEL', P .. ':uploads', id)
elseif data ~= '' then
    redis.call('HSET', task(id), 'q', data)
end
if result ~= '' then redis.call('HSET', task(id), 'r', result) end
if key ~= '' then redis.call('HSET', P .. ':keys:' .. w, key, id) end
if s == 'queued' then enter_queue(id, w, p, n, x)
elseif s == 'running' then
    redis.call('ZADD', running(I), n, id)
    redis.call('HSET', task(id), 'run', I)
end
if e ~= '' then has_ended(id, w, e) else redis.call('ZADD', live(w, priority), p, id) end
local here = place(at, n, id)
redis.call('ZADD', P .. ':time:' .. w, 0, here)
move(w, here, '', node)
if address ~= '' then redis.call('ZADD', P .. ':address:' .. w .. ':' .. address, 0, here) end
return answer({n, p})
""")

BEGIN_UPLOAD = changing("""
local id, w, key, limit, quota, window, token = unpack(ARGV, 4)
local known = same_key(w, key)
if known then return answer(known) end
local refusal = refused(w, limit, quota, window)
if refusal then return answer(refusal) end
local there = redis.call('HGET', P .. ':uploads', id)
local broken_off = there and string.sub(there, 1, #I + 1) == I .. '/'
if redis.call('EXISTS', task(id)) == 1 or there and not broken_off then return answer('taken') end
if not there and redis.call('EXISTS', P .. ':request:' .. id) == 1 then return answer('taken') end
redis.call('UNLINK', P .. ':request:' .. id)
redis.call('HSET', P .. ':uploads', id, token)
return answer(true)
""")
"""Takes the place of an upload by the same gateway: one that was broken off, and not dropped while Redis was away."""

UPLOAD = changing("""
local id, token, index, data = unpack(ARGV, 4)
if redis.call('HGET', P .. ':uploads', id) ~= token then return answer(false) end
redis.call('HSET', P .. ':request:' .. id, index, data)
return answer(true)
""")

DROP_UPLOAD = changing("""
local id, token = unpack(ARGV, 4)
if redis.call('HGET', P .. ':uploads', id) ~= token then return answer(false) end
redis.call('HDEL', P .. ':uploads', id)
redis.call('UNLINK', P .. ':request:' .. id)
return answer(true)
""")

FORGET = changing("""
local id, n, s, a, window = unpack(ARGV, 4)
local found = redis.call('HMGET', task(id), 'n', 's', 'w', 'at', 'node', 'address', 'a', 'pr', 't', 'key', 'run')
if found[1] ~= n or found[2] ~= s or found[7] ~= a then return answer(false) end
local w, here = found[3], place(found[4], n, id)
leave_queue(id, w, found[9])
leave_outbox(id, w)
take_back(w, window)
redis.call('ZREM', live(w, found[8]), id)
if found[11] then redis.call('ZREM', running(found[11]), id) end
redis.call('ZREM', P .. ':ended:' .. w, id)
redis.call('ZREM', P .. ':time:' .. w, here)
move(w, here, found[5], '')
if found[6] ~= '' then redis.call('ZREM', P .. ':address:' .. w .. ':' .. found[6], here) end
if found[10] ~= '' then redis.call('HDEL', P .. ':keys:' .. w, found[10]) end
redis.call('UNLINK', task(id), P .. ':request:' .. id)
return answer(true)
""")
"""Takes back an ``add`` whose caller was told that it failed, unless somebody has done something with the task."""


def dropping(task_id: str, token: str, begun: Any) -> tuple[Script, tuple[Any, ...]] | None:
    """What takes back a `BEGIN_UPLOAD` that has answered so; ``None``: it has begun nothing."""
    return (DROP_UPLOAD, (task_id, token)) if begun is True else None
