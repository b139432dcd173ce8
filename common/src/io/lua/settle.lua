-- KEYS: hold; then per ceiling its counter {spent, held} and its holds. ARGV: what it cost, life of the mark in ms; then the life in
-- ms of each counter. The hold becomes a mark, so that a second settling changes nothing. One that lapsed was charged in full: now it
-- is charged what it cost. One that Redis lost is charged as it comes.
local was = redis.call('GET', KEYS[1])
if was == 'settled' then return 0 end
local amount = tonumber(was or '0')
for i = 1, (#KEYS - 1) / 2 do
  local c = redis.call('HMGET', KEYS[2 * i], 'spent', 'held')
  local spent, held = tonumber(c[1] or '0') + tonumber(ARGV[1]), tonumber(c[2] or '0')
  if redis.call('ZREM', KEYS[2 * i + 1], KEYS[1]) == 1 then
    held = math.max(0, held - amount)
  else
    spent = math.max(0, spent - amount)
  end
  redis.call('HSET', KEYS[2 * i], 'spent', string.format('%.0f', spent), 'held', string.format('%.0f', held))
  redis.call('PEXPIRE', KEYS[2 * i], ARGV[2 + i])
end
redis.call('SET', KEYS[1], 'settled', 'PX', ARGV[2])
return 1
