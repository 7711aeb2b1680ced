"""The scripts about webhooks that are still to be delivered."""

from __future__ import annotations

from ngpu.stores.redis.script import unfenced
from ngpu.stores.redis.steps import changing

TAKE = changing("""
local now, till, room, most, busy = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), cjson.decode(ARGV[8])
local due = {}
for _, w in ipairs(redis.call('SMEMBERS', P .. ':outbox')) do
    local under_way = busy[w] or 0
    local here = math.min(room, most - under_way)
    if here > 0 then
        local found = redis.call('ZRANGEBYSCORE', pending(w), '-inf', now, 'WITHSCORES', 'LIMIT', 0, here)
        for i = 1, #found, 2 do
            local before = under_way + (i - 1) / 2
            due[#due + 1] = {w = w, id = found[i], at = tonumber(found[i + 1]), before = before}
        end
    end
end
table.sort(due, function(one, other)
    if one.before ~= other.before then return one.before < other.before end
    if one.at ~= other.at then return one.at < other.at end
    if one.w ~= other.w then return one.w < other.w end
    return one.id < other.id
end)
local taken = {}
for i = 1, math.min(room, #due) do
    local w, id = due[i].w, due[i].id
    local tries = redis.call('HINCRBY', task(id), 'tries', 1)
    redis.call('ZADD', pending(w), till, id)
    taken[i] = {w, id, tonumber(redis.call('HGET', task(id), 're')), tries}
end
return answer(taken)
""")

DELIVERED = changing("""
local id, nth = unpack(ARGV, 4)
local w, retries, e = unpack(redis.call('HMGET', task(id), 'w', 're', 'e'))
if retries ~= nth or not leave_outbox(id, w) then return answer(false) end
keep_until_purge(id, w, e)
return answer(true)
""")

FAILED = changing("""
local id, nth, try, due = unpack(ARGV, 4)
local w, retries, tries, e = unpack(redis.call('HMGET', task(id), 'w', 're', 'tries', 'e'))
if retries ~= nth or tries ~= try or not redis.call('ZSCORE', pending(w), id) then return answer(false) end
if due ~= '' then
    redis.call('ZADD', pending(w), due, id)
else
    redis.call('ZREM', pending(w), id)
    redis.call('SADD', dead(w), id)
    keep_until_purge(id, w, e)
end
return answer(true)
""")

BACKLOGS = unfenced("""
local found = {}
for _, w in ipairs(redis.call('SMEMBERS', P .. ':outbox')) do
    found[#found + 1] = {w, redis.call('ZCARD', P .. ':webhooks:' .. w), redis.call('SCARD', P .. ':dead:' .. w)}
end
return cjson.encode(found)
""")
"""Of each workspace that has any: how many wait, and how many were given up."""
