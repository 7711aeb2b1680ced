"""The scripts that take a task through its life. Each is one step: all of it, or nothing."""

from __future__ import annotations

from ngpu.stores.redis.steps import changing

MOST_EXPIRED = 500
"""Tasks that one ``expire`` ends."""

MOST_PURGED = 256
"""Tasks, and also pieces, that one ``purge`` removes before it lets others write (the last task's go with it)."""

CLAIM = changing("""
local w, pl, node, now = unpack(ARGV, 4)
local from = 0
while true do
    local ids = redis.call('ZRANGE', queue(w), from, from + 31)
    if #ids == 0 then return answer(false) end
    for _, standing in ipairs(ids) do
        local id = string.sub(standing, 13)
        local found = redis.call('HMGET', task(id), 'x', 'a', 'n', 'at', 't')
        if tonumber(found[1]) > tonumber(now) then
            leave_queue(id, w, found[5])
            drop_former_end(id)
            redis.call('ZADD', running(I), found[3], id)
            redis.call('HSET', task(id), 's', 'running', 'a', found[2] + 1, 'b', now, 'pl', pl, 'node', node, 'run', I)
            move(w, place(found[4], found[3], id), '', node)
            tell_of(id, 'running')
            return answer(record(id))
        end
    end
    from = from + 32
end
""")

REATTEMPT = changing("""
local id, attempt, pl, node = unpack(ARGV, 4)
local found = current(id, attempt)
if not found then return answer(false) end
move(found.w, found.place, found.node, node)
redis.call('HSET', task(id), 'a', attempt + 1, 'pl', pl, 'node', node, 'cp', '')
drop_result(id)
return answer(attempt + 1)
""")

REVERT = changing("""
local id, attempt = unpack(ARGV, 4)
if not current(id, attempt) then return answer(false) end
redis.call('HSET', task(id), 'a', attempt - 1)
return answer(true)
""")
"""Takes back a ``reattempt`` whose caller was told that it failed, and so never used its number."""

SAVE_CHECKPOINT = changing("""
local id, attempt, checkpoint = unpack(ARGV, 4)
if not current(id, attempt) then return answer(false) end
redis.call('HSET', task(id), 'cp', checkpoint)
return answer(true)
""")

REQUEUE = changing("""
local id, attempt, pl = unpack(ARGV, 4)
local found = current(id, attempt)
if not found then return answer(false) end
redis.call('ZREM', running(found.run), id)
enter_queue(id, found.w, found.p, found.t, found.x)
move(found.w, found.place, found.node, '')
redis.call('HSET', task(id), 's', 'queued', 'b', '', 'pl', pl, 'node', '', 'cp', '', 'run', '')
drop_result(id)
tell_of(id, 'queued')
return answer(true)
""")

WRITE_RESULT = changing("""
local id, attempt, index, data = unpack(ARGV, 4)
local found = current(id, attempt)
if not found or not ours(found.run) then return answer(false) end
redis.call('HSET', P .. ':result:' .. id, index, data)
return answer(true)
""")

FINISH = changing("""
local id, attempt, s, now, out, index, data = unpack(ARGV, 4)
local found = current(id, attempt)
if not found then return answer(false) end
if (tonumber(index) or 0) > 0 then
    if not ours(found.run) then return answer(false) end
    if redis.call('HLEN', P .. ':result:' .. id) < tonumber(index) then return answer('lost') end
end
redis.call('ZREM', running(found.run), id)
redis.call('HSET', task(id), 's', s, 'e', now, 'out', out)
has_ended(id, found.w, now)
if index == '' then drop_result(id)
elseif index == '0' then
    drop_result(id)
    if data ~= '' then redis.call('HSET', task(id), 'r', data) end
elseif data ~= '' then redis.call('HSET', P .. ':result:' .. id, index, data) end
return answer(true)
""")
"""Where pieces were written before the last one, they have to be there, and this gateway's own: a Redis that has
forgotten a claim may have let another gateway run the task in the same attempt."""

CANCEL = changing("""
local id, now = unpack(ARGV, 4)
local s, w, turn, run = unpack(redis.call('HMGET', task(id), 's', 'w', 't', 'run'))
if not s then return answer(false) end
if s == 'queued' or s == 'running' then
    if s == 'queued' then leave_queue(id, w, turn) else redis.call('ZREM', running(run), id) end
    redis.call('HSET', task(id), 's', 'cancelled', 'e', now)
    has_ended(id, w, now)
    drop_result(id)
    if s == 'running' then say('cancel:' .. string.match(run, '^[^:]*'), id) end
end
return answer(s)
""")

EXPIRE = changing("""
local now, most = unpack(ARGV, 4)
local expired = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. ':expiring', '-inf', now, 'LIMIT', 0, most)) do
    local w, turn = unpack(redis.call('HMGET', task(id), 'w', 't'))
    leave_queue(id, w, turn)
    drop_former_end(id)
    redis.call('HSET', task(id), 's', 'expired', 'e', now)
    has_ended(id, w, now)
    expired[#expired + 1] = {w, id}
end
return answer(expired)
""")

PURGE = changing("""
local before, otherwise, most = cjson.decode(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local tasks, pieces = 0, 0
for _, w in ipairs(redis.call('SMEMBERS', P .. ':workspaces')) do
    local ended = P .. ':ended:' .. w
    local due = redis.call('ZRANGEBYSCORE', ended, '-inf', '(' .. (before[w] or otherwise), 'LIMIT', 0, most - tasks)
    for _, id in ipairs(due) do
        if pieces >= most then return answer(tasks) end
        local found = redis.call('HMGET', task(id), 'n', 'at', 'node', 'address', 'key')
        local here = place(found[2], found[1], id)
        local request, result = P .. ':request:' .. id, P .. ':result:' .. id
        pieces = pieces + redis.call('HLEN', request) + redis.call('HLEN', result)
        redis.call('ZREM', ended, id)
        leave_outbox(id, w)
        if found[5] ~= '' then redis.call('HDEL', P .. ':keys:' .. w, found[5]) end
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
