-- KEYS: a counter {spent, held} of a day, the mark of the day that was summed up. ARGV: the day. What is spent and held of it, and
-- whether that is all.
local c = redis.call('HMGET', KEYS[1], 'spent', 'held')
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
return {c[1] or '0', c[2] or '0', redis.call('GET', KEYS[2]) == process .. ' ' .. ARGV[1] and 1 or 0}
