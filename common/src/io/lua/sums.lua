-- KEYS: this build's marker, ready marker, then counters {spent, held, known}. ARGV: life of the counters in ms, then a sum from the
-- journal for each. What is spent only grows by this: what was settled just now may not be on the journal yet. It counts only if
-- Redis was neither emptied nor restarted since the build began.
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if redis.call('GET', KEYS[1]) ~= process then return 0 end
for i = 3, #KEYS do
  local spent = tonumber(redis.call('HGET', KEYS[i], 'spent') or '0')
  spent = math.max(spent, tonumber(ARGV[i - 1]))
  redis.call('HSET', KEYS[i], 'spent', string.format('%.0f', spent), 'known', process)
  redis.call('PEXPIRE', KEYS[i], ARGV[1])
end
redis.call('SET', KEYS[2], process)
redis.call('DEL', KEYS[1])
return 1
