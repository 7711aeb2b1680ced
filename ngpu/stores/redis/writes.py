"""The scripts that change something. Each is one step: all of it, or nothing.

Keys (below the prefix): ``task:<id>`` the record, with bodies of one piece (``q`` request, ``r`` result);
``request:<id>`` and ``result:<id>`` the pieces of larger ones; ``queue:<workspace>`` waiting tasks by number;
``expiring`` the same by the time at which they expire; ``running``; ``ended:<workspace>`` by the time of their end;
``workspaces`` those with ended tasks; ``time:<workspace>``, ``node:<workspace>:<node>`` and
``address:<workspace>:<address>`` for listing, in lexical order of time, number, id.

The score of a waiting task is its number: a priority is 2**50 more or less, and places stay ranks. ``running`` has the
number too, so that leases of tasks are an index beside it; what a gateway may write is decided by its fence alone.
"""

from __future__ import annotations

from ngpu.stores.redis.script import Script, writing

MOST_EXPIRED = 500
"""Tasks that one ``expire`` ends."""

MOST_PURGED = 256
"""Tasks, and also pieces, that one ``purge`` removes before it lets others write (the last task's go with it)."""

_STEPS = """
local function enter_queue(id, w, n, expires)
    redis.call('ZADD', queue(w), n, id)
    redis.call('ZADD', P .. ':expiring', expires, id)
end
local function leave_queue(id, w)
    redis.call('ZREM', queue(w), id)
    redis.call('ZREM', P .. ':expiring', id)
end
local function has_ended(id, w, at)
    redis.call('ZADD', P .. ':ended:' .. w, at, id)
    redis.call('SADD', P .. ':workspaces', w)
end
local function place(at, n, id) return at .. string.format('%012x', n) .. id end
local function move(w, place, from, to)
    if from == to then return end
    if from ~= '' then redis.call('ZREM', P .. ':node:' .. w .. ':' .. from, place) end
    if to ~= '' then redis.call('ZADD', P .. ':node:' .. w .. ':' .. to, 0, place) end
end
local function drop_result(id)
    redis.call('HDEL', task(id), 'r')
    redis.call('UNLINK', P .. ':result:' .. id)
end
local function current(id, attempt)
    local found = redis.call('HMGET', task(id), 's', 'a', 'w', 'n', 'x', 'at', 'node')
    if found[1] ~= 'running' or found[2] ~= attempt then return nil end
    return {w = found[3], n = found[4], x = found[5], place = place(found[6], found[4], id), node = found[7]}
end
local function full(w, limit) return limit ~= '' and redis.call('ZCARD', queue(w)) >= tonumber(limit) end
"""


def _writing(text: str) -> Script:
    return writing(_STEPS + text)


ADD = _writing("""
local id, w, s, a, sent, x, b, e = unpack(ARGV, 4, 11)
local pl, out, cp, sub, at, node, address = unpack(ARGV, 12, 18)
local limit, token, data = unpack(ARGV, 19, 21)
if full(w, limit) then return answer('full') end
if redis.call('EXISTS', task(id)) == 1 or (redis.call('HGET', P .. ':uploads', id) or '') ~= token then
    return answer('taken')
end
local n = redis.call('INCR', P .. ':number')
redis.call('HSET', task(id), 'n', n, 'w', w, 's', s, 'a', a, 'sent', sent, 'x', x, 'b', b, 'e', e, 'pl', pl, 'out', out,
    'cp', cp, 'sub', sub, 'at', at, 'node', node, 'address', address)
if token ~= '' then
    redis.call('HDEL', P .. ':uploads', id)
elseif data ~= '' then
    redis.call('HSET', task(id), 'q', data)
end
if s == 'queued' then enter_queue(id, w, n, x)
elseif s == 'running' then redis.call('ZADD', P .. ':running', n, id) end
if e ~= '' then has_ended(id, w, e) end
local here = place(at, n, id)
redis.call('ZADD', P .. ':time:' .. w, 0, here)
move(w, here, '', node)
if address ~= '' then redis.call('ZADD', P .. ':address:' .. w .. ':' .. address, 0, here) end
return answer(n)
""")

BEGIN_UPLOAD = _writing("""
local id, w, limit, token = unpack(ARGV, 4)
if full(w, limit) then return answer('full') end
if redis.call('EXISTS', task(id), P .. ':request:' .. id) > 0 or redis.call('HEXISTS', P .. ':uploads', id) == 1 then
    return answer('taken')
end
redis.call('HSET', P .. ':uploads', id, token)
return answer(true)
""")

UPLOAD = _writing("""
local id, token, index, data = unpack(ARGV, 4)
if redis.call('HGET', P .. ':uploads', id) ~= token then return answer(false) end
redis.call('HSET', P .. ':request:' .. id, index, data)
return answer(true)
""")

DROP_UPLOAD = _writing("""
local id, token = unpack(ARGV, 4)
if redis.call('HGET', P .. ':uploads', id) ~= token then return answer(false) end
redis.call('HDEL', P .. ':uploads', id)
redis.call('UNLINK', P .. ':request:' .. id)
return answer(true)
""")

FORGET = _writing("""
local id, n, s, a = unpack(ARGV, 4)
local found = redis.call('HMGET', task(id), 'n', 's', 'w', 'at', 'node', 'address', 'a')
if found[1] ~= n or found[2] ~= s or found[7] ~= a then return answer(false) end
local w, here = found[3], place(found[4], n, id)
leave_queue(id, w)
redis.call('ZREM', P .. ':running', id)
redis.call('ZREM', P .. ':ended:' .. w, id)
redis.call('ZREM', P .. ':time:' .. w, here)
move(w, here, found[5], '')
if found[6] ~= '' then redis.call('ZREM', P .. ':address:' .. w .. ':' .. found[6], here) end
redis.call('UNLINK', task(id), P .. ':request:' .. id)
return answer(true)
""")
"""Takes back an ``add`` whose caller was told that it failed, unless somebody has done something with the task."""

CLAIM = _writing("""
local w, pl, node, now = unpack(ARGV, 4)
local from = 0
while true do
    local ids = redis.call('ZRANGE', queue(w), from, from + 31)
    if #ids == 0 then return answer(false) end
    for _, id in ipairs(ids) do
        local found = redis.call('HMGET', task(id), 'x', 'a', 'n', 'at')
        if tonumber(found[1]) > tonumber(now) then
            leave_queue(id, w)
            redis.call('ZADD', P .. ':running', found[3], id)
            redis.call('HSET', task(id), 's', 'running', 'a', found[2] + 1, 'b', now, 'pl', pl, 'node', node)
            move(w, place(found[4], found[3], id), '', node)
            return answer(record(id))
        end
    end
    from = from + 32
end
""")

REATTEMPT = _writing("""
local id, attempt, pl, node = unpack(ARGV, 4)
local found = current(id, attempt)
if not found then return answer(false) end
move(found.w, found.place, found.node, node)
redis.call('HSET', task(id), 'a', attempt + 1, 'pl', pl, 'node', node, 'cp', '')
drop_result(id)
return answer(attempt + 1)
""")

REVERT = _writing("""
local id, attempt = unpack(ARGV, 4)
if not current(id, attempt) then return answer(false) end
redis.call('HSET', task(id), 'a', attempt - 1)
return answer(true)
""")
"""Takes back a ``reattempt`` whose caller was told that it failed, and so never used its number."""

SAVE_CHECKPOINT = _writing("""
local id, attempt, checkpoint = unpack(ARGV, 4)
if not current(id, attempt) then return answer(false) end
redis.call('HSET', task(id), 'cp', checkpoint)
return answer(true)
""")

REQUEUE = _writing("""
local id, attempt, pl = unpack(ARGV, 4)
local found = current(id, attempt)
if not found then return answer(false) end
redis.call('ZREM', P .. ':running', id)
enter_queue(id, found.w, found.n, found.x)
move(found.w, found.place, found.node, '')
redis.call('HSET', task(id), 's', 'queued', 'b', '', 'pl', pl, 'node', '', 'cp', '')
drop_result(id)
return answer(true)
""")

WRITE_RESULT = _writing("""
local id, attempt, index, data = unpack(ARGV, 4)
if not current(id, attempt) then return answer(false) end
redis.call('HSET', P .. ':result:' .. id, index, data)
return answer(true)
""")

FINISH = _writing("""
local id, attempt, s, now, out, index, data = unpack(ARGV, 4)
local found = current(id, attempt)
if not found then return answer(false) end
redis.call('ZREM', P .. ':running', id)
redis.call('HSET', task(id), 's', s, 'e', now, 'out', out)
has_ended(id, found.w, now)
if index == '' then drop_result(id)
elseif index == '0' then
    drop_result(id)
    if data ~= '' then redis.call('HSET', task(id), 'r', data) end
elseif data ~= '' then redis.call('HSET', P .. ':result:' .. id, index, data) end
return answer(true)
""")

CANCEL = _writing("""
local id, now = unpack(ARGV, 4)
local s, w = unpack(redis.call('HMGET', task(id), 's', 'w'))
if not s then return answer(false) end
if s == 'queued' or s == 'running' then
    if s == 'queued' then leave_queue(id, w) else redis.call('ZREM', P .. ':running', id) end
    redis.call('HSET', task(id), 's', 'cancelled', 'e', now)
    has_ended(id, w, now)
    drop_result(id)
end
return answer(s)
""")

EXPIRE = _writing("""
local now, most = unpack(ARGV, 4)
local expired = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. ':expiring', '-inf', now, 'LIMIT', 0, most)) do
    local w = redis.call('HGET', task(id), 'w')
    leave_queue(id, w)
    redis.call('HSET', task(id), 's', 'expired', 'e', now)
    has_ended(id, w, now)
    expired[#expired + 1] = {w, id}
end
return answer(expired)
""")

PURGE = _writing("""
local before, otherwise, most = cjson.decode(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local tasks, pieces = 0, 0
for _, w in ipairs(redis.call('SMEMBERS', P .. ':workspaces')) do
    local ended = P .. ':ended:' .. w
    local due = redis.call('ZRANGEBYSCORE', ended, '-inf', '(' .. (before[w] or otherwise), 'LIMIT', 0, most - tasks)
    for _, id in ipairs(due) do
        if pieces >= most then return answer(tasks) end
        local found = redis.call('HMGET', task(id), 'n', 'at', 'node', 'address')
        local here = place(found[2], found[1], id)
        local request, result = P .. ':request:' .. id, P .. ':result:' .. id
        pieces = pieces + redis.call('HLEN', request) + redis.call('HLEN', result)
        redis.call('ZREM', ended, id)
        redis.call('ZREM', P .. ':time:' .. w, here)
        move(w, here, found[3], '')
        if found[4] ~= '' then redis.call('ZREM', P .. ':address:' .. w .. ':' .. found[4], here) end
        redis.call('UNLINK', task(id), request, result)
        tasks = tasks + 1
    end
    if redis.call('EXISTS', ended) == 0 then redis.call('SREM', P .. ':workspaces', w) end
    if tasks >= most then break end
end
return answer(tasks)
""")

PUT = writing("""
redis.call('HSET', P .. ':documents:' .. ARGV[4], ARGV[5], ARGV[6])
return answer(true)
""")

DELETE = writing("return answer(redis.call('HDEL', P .. ':documents:' .. ARGV[4], ARGV[5]) == 1)")
