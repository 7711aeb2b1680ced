"""The scripts for what owners do with tasks that are there: put them back into the queue, or out of it."""

from __future__ import annotations

from ngpu.stores.redis.steps import changing

MOST_CANCELLED = 500
"""Tasks that one ``cancel_queued`` ends."""

# ``direct`` is a key of our own compact JSON, and between quotes that belong to a text there are backslashes.
RETRY = changing("""
local function queued_again(sub) return (string.gsub(sub, '"direct":true', '"direct":false', 1)) end
local id, x, p, limit, quota, window, pl = unpack(ARGV, 4)
local names = {'s', 'w', 'n', 'pr', 'x', 'b', 'e', 'pl', 'out', 'cp', 'sub', 'node', 'p', 't', 'tries', 'hook', 'at'}
local was = {}
for i, value in ipairs(redis.call('HMGET', task(id), unpack(names))) do was[names[i]] = value end
if not was.s then return answer(false) end
if was.s ~= 'failed' and was.s ~= 'cancelled' and was.s ~= 'expired' then return answer({was.s}) end
local w, n = was.w, was.n
local refusal = refused(w, limit, quota, window)
if refusal then return answer(refusal) end
was.due, was.dead = redis.call('ZSCORE', pending(w), id), redis.call('SISMEMBER', dead(w), id)
was.window = window
count(w, window)
leave_outbox(id, w)
redis.call('ZREM', P .. ':ended:' .. w, id)
move(w, place(was.at, n, id), was.node, '')
p = behind_its_own(w, was.pr, p)
local turn = redis.call('INCR', P .. ':number')
redis.call('HSET', task(id), 's', 'queued', 'x', x, 'p', p, 't', turn, 'b', '', 'e', '', 'out', '', 'cp', '', 'pl', pl,
    'node', '', 'sub', queued_again(was.sub), 'was', cjson.encode(was))
redis.call('HINCRBY', task(id), 're', 1)
redis.call('ZADD', live(w, was.pr), p, id)
enter_queue(id, w, p, turn, x)
tell_of(id, 'queued')
return answer({was.s, turn})
""")
"""Forgets the last end, but for ``was``, and its result, which nothing leads to: they go with the next claim.

Answers with the status before, and the new turn where it was put back.
"""

GIVE_BACK = changing("""
local id, turn = unpack(ARGV, 4)
local w, s, n, there, kept = unpack(redis.call('HMGET', task(id), 'w', 's', 'n', 't', 'was'))
if there ~= turn or s ~= 'queued' or not kept then return answer(false) end
local was = cjson.decode(kept)
leave_queue(id, w, turn)
redis.call('ZREM', live(w, was.pr), id)
take_back(w, was.window)
redis.call('HDEL', task(id), 'was')
for _, name in ipairs({'s', 'x', 'b', 'e', 'pl', 'out', 'cp', 'sub', 'node', 'p', 't', 'tries'}) do
    if was[name] then redis.call('HSET', task(id), name, was[name]) end
end
redis.call('HINCRBY', task(id), 're', -1)
move(w, place(was.at, n, id), '', was.node)
if was.due then redis.call('ZADD', pending(w), was.due, id) else keep_until_purge(id, w, was.e) end
if was.dead == 1 then redis.call('SADD', dead(w), id) end
if was.due or was.dead == 1 then redis.call('SADD', P .. ':outbox', w) end
return answer(true)
""")
"""Takes back a ``retry`` whose caller was told that it failed, unless somebody has done something with the task."""

CANCEL_QUEUED = changing("""
local w, now, most = unpack(ARGV, 4)
local cancelled = {}
if tonumber(most) < 1 then return answer(cancelled) end
for _, standing in ipairs(redis.call('ZRANGE', queue(w), 0, most - 1)) do
    local id = string.sub(standing, 13)
    leave_queue(id, w, redis.call('HGET', task(id), 't'))
    drop_former_end(id)
    redis.call('HSET', task(id), 's', 'cancelled', 'e', now)
    has_ended(id, w, now)
    cancelled[#cancelled + 1] = id
end
return answer(cancelled)
""")
