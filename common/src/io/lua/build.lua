-- KEYS: marker of this build, ready marker. ARGV: 'begin' or 'end', how long the marker lives in ms.
-- A build counts only if Redis was neither emptied nor restarted since it began.
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if ARGV[1] == 'begin' then
  redis.call('SET', KEYS[1], process, 'PX', ARGV[2])
  return 1
end
if redis.call('GET', KEYS[1]) ~= process then return 0 end
redis.call('SET', KEYS[2], process)
redis.call('DEL', KEYS[1])
return 1
