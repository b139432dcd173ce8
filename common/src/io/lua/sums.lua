-- KEYS: this build's marker, ready marker, then counters. ARGV: life of the counters in ms, then a sum from the journal for each.
-- Counters only grow by this: what is held of them now is not on the journal yet. Counts only if Redis was neither emptied nor
-- restarted since the build began.
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if redis.call('GET', KEYS[1]) ~= process then return 0 end
for i = 3, #KEYS do
  local spent = tonumber(redis.call('GET', KEYS[i]) or '0')
  local sum = tonumber(ARGV[i - 1])
  if sum > spent then redis.call('SET', KEYS[i], string.format('%.0f', sum), 'PX', ARGV[1]) end
end
redis.call('SET', KEYS[2], process)
redis.call('DEL', KEYS[1])
return 1
