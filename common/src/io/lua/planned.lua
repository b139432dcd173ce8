-- KEYS: claim. {times it was given back as planned, tries, ms since the first of them or -1, ms until the next}. Time is Redis's own.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local c = redis.call('HMGET', KEYS[1], 'planned', 'tries', 'first', 'due')
local first, due = tonumber(c[3]), tonumber(c[4]) or 0
return {tonumber(c[1]) or 0, tonumber(c[2]) or 0, first and math.max(now - first, 0) or -1, math.max(due - now, 0)}
