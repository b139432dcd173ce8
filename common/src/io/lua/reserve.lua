-- KEYS: hold; then per ceiling its counter {spent, held} and its holds (hold keys by when they lapse); then the mark of the day that
-- was summed up, and the set of the day's counters. ARGV: amount, how long a hold lasts unless it is held again (ms), life of its key
-- (ms), whether to take it whatever is left (Redis lost a hold), the day; then limit, what is spent at least, life in ms, and whether
-- it counts a day, of each counter. Amounts are nano-dollars: whole numbers, exact below 2^53 (9 million dollars).
-- {'held'} | {'unknown'}: sum up the day first | {'ceiling' or, if only what others hold is in the way, 'busy', index from 0, spent, held}
local function text(x) return string.format('%.0f', x) end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local amount, lapses, force, count = tonumber(ARGV[1]), now + tonumber(ARGV[2]), ARGV[4] == '1', (#KEYS - 3) / 2
if redis.call('EXISTS', KEYS[1]) == 1 then
  for i = 1, count do redis.call('ZADD', KEYS[2 * i + 1], 'XX', lapses, KEYS[1]) end
  return {'held'}
end
local spent, held, by_day = {}, {}, false
for i = 1, count do
  local c = redis.call('HMGET', KEYS[2 * i], 'spent', 'held')
  spent[i], held[i] = tonumber(c[1] or '0'), tonumber(c[2] or '0')
  -- Of a planner that was lost: it may have cost all of it.
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2 * i + 1], '-inf', now)) do
    local lost = tonumber(redis.call('GET', gone) or '0') or 0
    spent[i], held[i] = spent[i] + lost, math.max(0, held[i] - lost)
    redis.call('ZREM', KEYS[2 * i + 1], gone)
    redis.call('HSET', KEYS[2 * i], 'spent', text(spent[i]), 'held', text(held[i]))
  end
  spent[i] = math.max(spent[i], tonumber(ARGV[3 + 4 * i]))
  by_day = by_day or ARGV[5 + 4 * i] == '1'
end
if by_day and not force then
  local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  if redis.call('GET', KEYS[#KEYS - 1]) ~= process .. ' ' .. ARGV[5] then return {'unknown'} end
end
local busy
for i = 1, force and 0 or count do
  local limit = tonumber(ARGV[2 + 4 * i])
  if spent[i] + held[i] + amount > limit then
    local answer = {'busy', i - 1, text(spent[i]), text(held[i])}
    if spent[i] + amount > limit then
      answer[1] = 'ceiling'
      return answer
    end
    busy = busy or answer
  end
end
if busy then return busy end
for i = 1, count do
  local life = ARGV[4 + 4 * i]
  redis.call('HSET', KEYS[2 * i], 'spent', text(spent[i]), 'held', text(held[i] + amount))
  redis.call('ZADD', KEYS[2 * i + 1], lapses, KEYS[1])
  redis.call('PEXPIRE', KEYS[2 * i], life)
  redis.call('PEXPIRE', KEYS[2 * i + 1], life)
  if ARGV[5 + 4 * i] == '1' then
    redis.call('SADD', KEYS[#KEYS], KEYS[2 * i])
    redis.call('PEXPIRE', KEYS[#KEYS], life)
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return {'held'}
