-- KEYS: hold, then one counter per ceiling. ARGV: what it cost, life of the mark in ms; then the life in ms of each counter.
-- The hold becomes a mark, so that a second settling changes nothing. A hold that Redis lost is charged as it comes.
local held = redis.call('GET', KEYS[1])
if held == 'settled' then return 0 end
local more = tonumber(ARGV[1]) - tonumber(held or '0')
for i = 2, #KEYS do
  local spent = math.max(0, tonumber(redis.call('GET', KEYS[i]) or '0') + more)
  redis.call('SET', KEYS[i], string.format('%.0f', spent), 'PX', ARGV[i + 1])
end
redis.call('SET', KEYS[1], 'settled', 'PX', ARGV[2])
return 1
