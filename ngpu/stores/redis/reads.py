"""The scripts that only look."""

from __future__ import annotations

from ngpu.stores.redis.script import unfenced

RECORD = unfenced("""
if redis.call('EXISTS', task(ARGV[1])) == 0 then return 'null' end
return cjson.encode(record(ARGV[1]))
""")

BY_KEY = unfenced("""
local id = redis.call('HGET', P .. ':keys:' .. ARGV[1], ARGV[2])
return id and cjson.encode(record(id)) or 'null'
""")

POSITION = unfenced("""
local s, w, turn = unpack(redis.call('HMGET', task(ARGV[1]), 's', 'w', 't'))
if s ~= 'queued' then return '1' end
return tostring(1 + redis.call('ZRANK', queue(w), standing(turn, ARGV[1])))
""")

QUEUES = unfenced("""
local found = {}
for _, w in ipairs(redis.call('SMEMBERS', P .. ':queues')) do found[#found + 1] = {w, redis.call('ZCARD', queue(w))} end
if #found == 0 then return '[]' end
return cjson.encode(found)
""")
"""How many tasks wait, of each workspace of which some do."""

PAGE = unfenced("""
local command = ARGV[6] == '1' and 'ZREVRANGEBYLEX' or 'ZRANGEBYLEX'
local places = redis.call(command, P .. ARGV[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local shown = {}
for _, place in ipairs(places) do
    if ARGV[5] == '' or redis.call('HGET', task(string.sub(place, 29)), 'node') == ARGV[5] then
        shown[#shown + 1] = place
    end
end
local last = #places == tonumber(ARGV[4]) and places[#places] or ''
return cjson.encode({#shown > 0 and shown or cjson.null, last})
""")
"""Places of an index between two bounds, from the first one on: those at a node (or all), and the last one looked at if
more may follow. ``1`` at the end of the arguments: downwards."""

PIECE = unfenced("""
local id, kind, attempt, index = unpack(ARGV)
local small, a = unpack(redis.call('HMGET', task(id), string.sub(kind, 1, 1) == 'q' and 'q' or 'r', 'a'))
if not a then return false end
if kind == 'r' and a ~= attempt then return false end
if index == '0' and small then return small end
return redis.call('HGET', P .. (kind == 'q' and ':request:' or ':result:') .. id, index)
""")
"""A piece of a request (``q``) or result (``r``) as it is, or nil."""
