-- KEYS: memory. Since when (ms) this Redis remembers every item that was sent: since it was last empty or restarted, or since
-- somebody first asked after that.
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local c = redis.call('HMGET', KEYS[1], 'process', 'since')
if c[1] == process then return tonumber(c[2]) end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], 'process', process, 'since', now)
return now
