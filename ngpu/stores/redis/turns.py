"""The scripts that count the slots of replicas over all gateways, and say whose turn it is where there are too few.

Keys (below the prefix): ``slots:<replica>`` how many each gateway holds, by its identity; ``held:<identity>`` the
replicas of which a gateway holds some; ``occupied`` the replicas of which anybody does; ``wanting:<replica>`` the
gateways that were refused, in order; ``turn:<replica>`` the one of them for which a slot that became free is kept, for
`RESERVED` milliseconds.

Whoever was refused stands in line once, and leaves the line with its turn: a gateway that does not come, or is gone,
costs the others that time at most, and whoever asks next after it makes it the turn of the next.

What changed is said on the topic ``slots``: ``[replica, [identity, count, …], identity whose turn it is or ""]``.
"""

from __future__ import annotations

from ngpu.stores.redis.script import unfenced, writing

RESERVED = 250
"""Milliseconds for which a slot is kept for the gateway whose turn it is."""

_FORGOTTEN = 60_000
"""Milliseconds after which a line is forgotten in which nobody was put."""

SLOTS = f"""
local function slots(replica) return P .. ':slots:' .. replica end
local function wanting(replica) return P .. ':wanting:' .. replica end
local function turn(replica) return P .. ':turn:' .. replica end
local function holders(replica) return redis.call('HGETALL', slots(replica)) end
local function tell_slots(replica)
    say('slots', cjson.encode({{replica, holders(replica), redis.call('GET', turn(replica)) or ''}}))
end
local function next_turn(replica)
    local first = redis.call('LPOP', wanting(replica))
    if first then redis.call('SET', turn(replica), first, 'PX', {RESERVED}) end
    return first
end
local function hold(replica, identity, count)
    redis.call('HINCRBY', slots(replica), identity, count)
    redis.call('SADD', P .. ':held:' .. identity, replica)
    redis.call('SADD', P .. ':occupied', replica)
end
local function held(replica)
    local sum = 0
    for _, count in ipairs(redis.call('HVALS', slots(replica))) do sum = sum + count end
    return sum
end
local function give_back(replica, identity, count, most)
    local was_full = held(replica) >= most
    local there = tonumber(redis.call('HGET', slots(replica), identity) or 0)
    if there == 0 then return false end
    if count < there then redis.call('HINCRBY', slots(replica), identity, -count)
    else
        redis.call('HDEL', slots(replica), identity)
        redis.call('SREM', P .. ':held:' .. identity, replica)
    end
    if redis.call('EXISTS', slots(replica)) == 0 then redis.call('SREM', P .. ':occupied', replica) end
    local kept = redis.call('EXISTS', turn(replica)) == 1 or next_turn(replica)
    if was_full or kept then tell_slots(replica) end
    return true
end
local function free_all(identity)
    for _, replica in ipairs(redis.call('SMEMBERS', P .. ':held:' .. identity)) do
        give_back(replica, identity, math.huge, 0)
    end
end
"""
"""For scripts of others: ``free_all(identity)`` takes every slot from a gateway that is gone, or goes."""

TAKE = writing(
    SLOTS
    + f"""
local replica, most = ARGV[4], tonumber(ARGV[5])
local me, left, given = ARGV[1], most - held(replica), nil
local whose = redis.call('GET', turn(replica))
if left > 0 and not whose then
    given = next_turn(replica)
    whose = given
end
local kept = whose and whose ~= me and 1 or 0
if left <= kept then
    if not redis.call('LPOS', wanting(replica), me) then redis.call('RPUSH', wanting(replica), me) end
    redis.call('PEXPIRE', wanting(replica), {_FORGOTTEN})
    if given then tell_slots(replica) end
    return answer({{false, holders(replica), redis.call('PTTL', turn(replica))}})
end
if whose == me then redis.call('DEL', turn(replica)) end
redis.call('LREM', wanting(replica), 0, me)
hold(replica, me, 1)
left = left - 1
if left > 0 and kept == 0 then given = next_turn(replica) end
if left <= 0 or given then tell_slots(replica) end
return answer({{true, holders(replica), 0}})
"""
)
"""Takes a slot, or stands in line; with the milliseconds until another one's turn is over."""

FREE = writing(SLOTS + "return answer(give_back(ARGV[4], ARGV[1], 1, tonumber(ARGV[5])))")
"""Gives one back, of as many as the replica has."""

PASS = writing(
    SLOTS
    + """
local replica = ARGV[4]
if redis.call('GET', turn(replica)) ~= ARGV[1] then return answer(false) end
redis.call('DEL', turn(replica))
next_turn(replica)
tell_slots(replica)
return answer(true)
"""
)
"""Leaves one's turn to the next in line."""

MEND = writing(
    SLOTS
    + """
local replica, seen, wanted = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
if tonumber(redis.call('HGET', slots(replica), ARGV[1]) or 0) ~= seen then return answer(false) end
if wanted < seen then give_back(replica, ARGV[1], seen - wanted, 0) else hold(replica, ARGV[1], wanted - seen) end
return answer(true)
"""
)
"""Makes a count what the gateway knows it to be, after a call that came to nothing, or a Redis that forgot some."""

COUNTS = unfenced("""
local found = {}
for _, replica in ipairs(redis.call('SMEMBERS', P .. ':occupied')) do
    found[#found + 1] = {replica, redis.call('HGETALL', P .. ':slots:' .. replica)}
end
return cjson.encode(found)
""")
