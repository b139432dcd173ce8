-- KEYS: hold, then one counter {spent, held} per ceiling. ARGV: what it cost, life of the mark in ms; then the life in ms of each
-- counter. The hold becomes a mark, so that a second settling changes nothing. A hold that Redis lost is charged as it comes.
local was = redis.call('GET', KEYS[1])
if was == 'settled' then return 0 end
for i = 2, #KEYS do
  local c = redis.call('HMGET', KEYS[i], 'spent', 'held')
  local spent = tonumber(c[1] or '0') + tonumber(ARGV[1])
  local held = math.max(0, tonumber(c[2] or '0') - tonumber(was or '0'))
  redis.call('HSET', KEYS[i], 'spent', string.format('%.0f', spent), 'held', string.format('%.0f', held))
  redis.call('PEXPIRE', KEYS[i], ARGV[i + 1])
end
redis.call('SET', KEYS[1], 'settled', 'PX', ARGV[2])
return 1
