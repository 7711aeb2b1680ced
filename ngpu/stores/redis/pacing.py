"""The script that counts a submission against a workspace's rate: `ngpu.limits.paced`, in one step."""

from __future__ import annotations

from ngpu.stores.redis.script import writing

PACE = writing("""
local kept, per_second, burst, now = P .. ':rate:' .. ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local function exact(number) return string.format('%.17g', number) end
local rounding = 1e-6
local each = 1 / per_second
local full_at = tonumber(redis.call('GET', kept) or now)
local before = math.min(math.max(full_at, now), now + burst * each)
local wait = before + each - now - burst * each
local function keep(until_full)
    local milliseconds = string.format('%.0f', math.min((until_full - now) * 1000, 1e15) + 60000)
    redis.call('SET', kept, exact(until_full), 'PX', milliseconds)
end
if wait > rounding then
    if before ~= full_at then keep(before) end
    return cjson.encode({exact(wait), 0, exact(before - now)})
end
local after = before + each
local left = math.floor(burst - (after - now - rounding) / each)
keep(after)
return answer({'0', left, exact(after - now)})
""")
"""``wait``, ``left`` and ``full_in`` of a `ngpu.limits.Pace`.

One that has to wait changes nothing, the slot of its answer included, unless the clock was set back: so a crowd of them
costs no write, and asking again does no harm. What is kept goes a minute after it has no meaning any more.
"""
