-- KEYS: a counter {spent, held, known} of a day. What is spent and held of it, and whether that is all: it was summed up from the
-- journal since Redis started.
local c = redis.call('HMGET', KEYS[1], 'spent', 'held', 'known')
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
return {c[1] or '0', c[2] or '0', c[3] == process and 1 or 0}
