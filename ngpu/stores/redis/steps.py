"""What the scripts that change tasks have in common: the keys, and the steps from one state of a task to another.

Keys (below the prefix): ``task:<id>`` the record, with bodies of one piece (``q`` request, ``r`` result);
``request:<id>`` and ``result:<id>`` the pieces of larger ones; ``queue:<workspace>`` waiting tasks by place and turn;
``live:<workspace>:<priority>`` waiting and running ones by place; ``expiring`` waiting ones by the time at which they
expire; ``queues`` the workspaces of which some wait; ``webhooks:<workspace>`` ended tasks whose webhook is pending, by
when it is due; ``dead:<workspace>`` those whose webhook was given up; ``outbox`` the workspaces that have any of these;
``ended:<workspace>`` ended tasks by the time of their end, but for those with a pending webhook; ``workspaces`` those
that have some; ``keys:<workspace>`` tasks by their idempotency key; ``usage:<workspace>`` what was counted in a quota's
window; ``rate:<workspace>`` when the whole burst is there again; ``time:<workspace>``, ``node:<workspace>:<node>`` and
``address:<workspace>:<address>`` for listing, in lexical order of time, number, id.

A member of a queue is the turn in 12 hex digits and the id, its score the place: of two in one place the earlier turn
is first, and a position is a rank. What runs is kept by the gateway that runs it; see `ngpu.stores.redis.gone`.
"""

from __future__ import annotations

from ngpu.stores.redis.script import Script, writing

_STEPS = """
local function leave_queue(id, w, turn)
    redis.call('ZREM', queue(w), standing(turn, id))
    redis.call('ZREM', P .. ':expiring', id)
    if redis.call('EXISTS', queue(w)) == 0 then redis.call('SREM', P .. ':queues', w) end
end
local function enter_queue(id, w, place, turn, expires)
    redis.call('ZADD', queue(w), place, standing(turn, id))
    redis.call('ZADD', P .. ':expiring', expires, id)
    redis.call('SADD', P .. ':queues', w)
end
local function tell_of(id, status) say('task:' .. id, status) end
local function live(w, priority) return P .. ':live:' .. w .. ':' .. priority end
local function behind_its_own(w, priority, place)
    local last = redis.call('ZREVRANGE', live(w, priority), 0, 0, 'WITHSCORES')[2]
    return last and tonumber(last) > tonumber(place) and last or place
end
local function keep_until_purge(id, w, at)
    redis.call('ZADD', P .. ':ended:' .. w, at, id)
    redis.call('SADD', P .. ':workspaces', w)
end
local function pending(w) return P .. ':webhooks:' .. w end
local function dead(w) return P .. ':dead:' .. w end
local function has_ended(id, w, at)
    local priority, webhook = unpack(redis.call('HMGET', task(id), 'pr', 'hook'))
    redis.call('ZREM', live(w, priority), id)
    tell_of(id, 'ended')
    if webhook == '' then return keep_until_purge(id, w, at) end
    redis.call('HSET', task(id), 'tries', 0)
    redis.call('ZADD', pending(w), at, id)
    redis.call('SADD', P .. ':outbox', w)
end
local function leave_outbox(id, w)
    local left = redis.call('ZREM', pending(w), id) + redis.call('SREM', dead(w), id)
    if left > 0 and redis.call('EXISTS', pending(w), dead(w)) == 0 then redis.call('SREM', P .. ':outbox', w) end
    return left > 0
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
local function drop_former_end(id)
    if redis.call('HDEL', task(id), 'was') == 1 then drop_result(id) end
end
local function current(id, attempt)
    local found = redis.call('HMGET', task(id), 's', 'a', 'w', 'n', 'x', 'at', 'node', 'p', 't', 'run')
    if found[1] ~= 'running' or found[2] ~= attempt then return nil end
    return {w = found[3], n = found[4], x = found[5], place = place(found[6], found[4], id), node = found[7],
        p = found[8], t = found[9], run = found[10]}
end
local function ours(run) return string.match(run, '^[^:]*') == string.match(I, '^[^:]*') end
local function usage(w) return P .. ':usage:' .. w end
local function refused(w, limit, quota, window)
    if limit ~= '' and redis.call('ZCARD', queue(w)) >= tonumber(limit) then return 'full' end
    if quota ~= '' and tonumber(redis.call('HGET', usage(w), window) or 0) >= tonumber(quota) then return 'over' end
end
local function count(w, window)
    if window == '' then return end
    redis.call('HINCRBY', usage(w), window, 1)
    for _, each in ipairs(redis.call('HKEYS', usage(w))) do
        if each < window then redis.call('HDEL', usage(w), each) end
    end
end
local function take_back(w, window)
    if window and window ~= '' then redis.call('HINCRBY', usage(w), window, -1) end
end
local function same_key(w, key)
    local id = key ~= '' and redis.call('HGET', P .. ':keys:' .. w, key)
    return id and {known = record(id)}
end
"""


def changing(text: str) -> Script:
    """A script that changes tasks; see `writing`."""
    return writing(_STEPS + text)
