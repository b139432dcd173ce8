-- KEYS: this build's marker, mark of the day that was summed up, set of the day's counters; at the end also the counters that the
-- journal has. ARGV: 'begin', life of the marker in ms | 'end', the day, life of the counters in ms, then a sum from the journal for
-- each counter. What was settled while the journal was read is added to what it says: some of it may be on it already, which errs to
-- the safe side. It counts only if Redis was neither emptied nor restarted since the beginning.
-- The beginning says whether Redis remembers all calls in flight: a day was summed up since it started.
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if ARGV[1] == 'begin' then
  redis.call('SET', KEYS[1], process, 'PX', ARGV[2])
  for _, counter in ipairs(redis.call('SMEMBERS', KEYS[3])) do
    redis.call('HSET', counter, 'base', redis.call('HGET', counter, 'spent') or '0')
  end
  local mark = redis.call('GET', KEYS[2])
  return mark and string.sub(mark, 1, #process) == process and 1 or 0
end
if redis.call('GET', KEYS[1]) ~= process then return 0 end
for i = 4, #KEYS do
  local c = redis.call('HMGET', KEYS[i], 'spent', 'base')
  local spent = tonumber(c[1] or '0')
  spent = math.max(spent, tonumber(ARGV[i]) + spent - tonumber(c[2] or '0'))
  redis.call('HSET', KEYS[i], 'spent', string.format('%.0f', spent))
  redis.call('PEXPIRE', KEYS[i], ARGV[3])
  redis.call('SADD', KEYS[3], KEYS[i])
end
redis.call('PEXPIRE', KEYS[3], ARGV[3])
redis.call('SET', KEYS[2], process .. ' ' .. ARGV[2])
redis.call('DEL', KEYS[1])
return 1
