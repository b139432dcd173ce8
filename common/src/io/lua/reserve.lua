-- KEYS: hold, ready marker, then one counter {spent, held} per ceiling. ARGV: amount, life of the hold in ms, whether the counters
-- of days must be complete, whether to take it whatever is left (a hold that Redis lost); then limit, what is spent at least and
-- life in ms of each counter. Amounts are nano-dollars: whole numbers, exact below 2^53 (9 million dollars).
-- {'held'} | {'unknown'}: the day's sums must be made from the journal first
-- | {'ceiling' or, if only what others hold is in the way, 'busy', index from 0, spent, held}
if redis.call('EXISTS', KEYS[1]) == 1 then return {'held'} end
local amount, strict, force = tonumber(ARGV[1]), ARGV[3] == '1', ARGV[4] == '1'
if strict and not force then
  local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  if redis.call('GET', KEYS[2]) ~= process then return {'unknown'} end
end
local spent, held, busy = {}, {}, nil
for i = 3, #KEYS do
  local at = 5 + (i - 3) * 3
  local c = redis.call('HMGET', KEYS[i], 'spent', 'held')
  spent[i] = math.max(tonumber(c[1] or '0'), tonumber(ARGV[at + 1]))
  held[i] = tonumber(c[2] or '0')
  if not force and spent[i] + held[i] + amount > tonumber(ARGV[at]) then
    local answer = {'busy', i - 3, string.format('%.0f', spent[i]), string.format('%.0f', held[i])}
    if spent[i] + amount > tonumber(ARGV[at]) then
      answer[1] = 'ceiling'
      return answer
    end
    busy = busy or answer
  end
end
if busy then return busy end
for i = 3, #KEYS do
  redis.call('HSET', KEYS[i], 'spent', string.format('%.0f', spent[i]), 'held', string.format('%.0f', held[i] + amount))
  redis.call('PEXPIRE', KEYS[i], ARGV[7 + (i - 3) * 3])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'held'}
