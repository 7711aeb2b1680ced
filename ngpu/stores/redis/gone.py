"""Scripts about gateways that come, live, and are gone: who may write, and what becomes of what the others ran.

Keys (below the prefix): ``gateways`` the identities that may write; ``gateway:<identity>`` who that is, for as long as
it was heard of lately; ``missing`` since when one is not heard of, in seconds of Redis' own clock;
``running:<identity>`` what it runs, by number; ``gone`` those that write no more and whose tasks are not all taken over
yet; ``answers:<process>`` what its last calls were answered, and in which of its lives it is (``life``).

An identity is ``<process>:<life>``. A gateway that was paused for too long, or cut off, finds that its identity may not
write any more; it comes back with the next one, and what it ran before belongs to whoever took it over.
"""

from __future__ import annotations

from ngpu.stores.redis.script import MEMBERS, unfenced
from ngpu.stores.redis.steps import changing
from ngpu.stores.redis.turns import SLOTS

ANSWERS_KEPT = 3600
"""Seconds for which the answers of a gateway that is gone are kept, in case it was only paused."""

_LEAVE = (
    SLOTS
    + MEMBERS
    + """
local function leave(identity)
    redis.call('SREM', P .. ':gateways', identity)
    redis.call('DEL', P .. ':gateway:' .. identity)
    redis.call('HDEL', P .. ':missing', identity)
    local process, life = string.match(identity, '^(.-):(%d+)$')
    local answers = P .. ':answers:' .. process
    if tonumber(redis.call('HGET', answers, 'life') or 0) <= tonumber(life) then -- else it is back already
        redis.call('HSET', answers, 'life', life + 1)
        redis.call('EXPIRE', answers, """
    + str(ANSWERS_KEPT)
    + """)
    end
    free_all(identity)
    local uploads = redis.call('HGETALL', P .. ':uploads')
    for i = 1, #uploads, 2 do
        if string.sub(uploads[i + 1], 1, #identity + 1) == identity .. '/' then
            redis.call('UNLINK', P .. ':request:' .. uploads[i])
            redis.call('HDEL', P .. ':uploads', uploads[i])
        end
    end
    if redis.call('EXISTS', running(identity)) == 1 then redis.call('SADD', P .. ':gone', identity) end
end
"""
)

JOIN = unfenced("""
local identity, holder, length = unpack(ARGV)
local process, life = string.match(identity, '^(.-):(%d+)$')
local answers = P .. ':answers:' .. process
if tonumber(redis.call('HGET', answers, 'life') or 0) > tonumber(life) then return 'false' end
redis.call('HSET', answers, 'life', life)
redis.call('PERSIST', answers)
redis.call('SADD', P .. ':gateways', identity)
redis.call('HDEL', P .. ':missing', identity)
redis.call('SET', P .. ':gateway:' .. identity, holder, 'PX', length)
return 'true'
""")
"""Lets a gateway in. A copy that comes late, when this life of it is over, does nothing."""

RENEW = unfenced("""
local identity, holder, length = unpack(ARGV)
if redis.call('SISMEMBER', P .. ':gateways', identity) == 0 then return 'false' end
redis.call('HDEL', P .. ':missing', identity)
redis.call('SET', P .. ':gateway:' .. identity, holder, 'PX', length)
return 'true'
""")
"""Says that it lives; false where the others have counted it as gone."""

LEAVE = unfenced(
    _LEAVE
    + """
if redis.call('SISMEMBER', P .. ':gateways', ARGV[1]) == 1 then leave(ARGV[1]) end
return 'true'
"""
)
"""Says that it writes no more: what it still ran is taken over at once."""

RUNNING = unfenced(
    MEMBERS
    + """
local found = {}
for _, id in ipairs(redis.call('ZRANGE', running(ARGV[1]), 0, -1)) do
    found[#found + 1] = {id, tonumber(redis.call('HGET', task(id), 'a') or 0)}
end
return #found == 0 and '[]' or cjson.encode(found)
"""
)
"""Id and attempt of what a gateway runs."""

TAKE_OVER = changing(
    _LEAVE
    + """
local grace, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for _, identity in ipairs(redis.call('SMEMBERS', P .. ':gateways')) do
    if identity ~= I and redis.call('EXISTS', P .. ':gateway:' .. identity) == 0 then
        local since = tonumber(redis.call('HGET', P .. ':missing', identity))
        if since and now - since >= grace then
            leave(identity)
        elseif not since or since > now then
            redis.call('HSET', P .. ':missing', identity, string.format('%.3f', now))
        end
    end
end
local taken = {}
for _, identity in ipairs(redis.call('SMEMBERS', P .. ':gone')) do
    for _, id in ipairs(redis.call('ZRANGE', running(identity), 0, most - #taken - 1)) do
        local n, attempt = unpack(redis.call('HMGET', task(id), 'n', 'a'))
        redis.call('ZREM', running(identity), id)
        redis.call('ZADD', running(I), n, id)
        redis.call('HSET', task(id), 'a', attempt + 1, 'run', I)
        drop_result(id)
        taken[#taken + 1] = record(id)
    end
    if redis.call('EXISTS', running(identity)) == 0 then redis.call('SREM', P .. ':gone', identity) end
    if #taken >= most then break end
end
return answer(taken)
"""
)
"""Counts those as gone that were not heard of and then missed for so many seconds, and takes over what they ran.

The second wait is for those who could not say anything because Redis itself was away, or its clock was changed.
"""
