-- KEYS: hold, then one counter {spent, held, known} per ceiling. ARGV: amount, life of the hold in ms, whether to take it whatever
-- is left (a hold that Redis lost); then limit, what is spent at least, life in ms, and whether it counts a day, of each counter. A
-- day's counter must have been summed up from the journal since Redis started. Amounts are nano-dollars: whole numbers, exact below
-- 2^53 (9 million dollars).
-- {'held'} | {'unknown'}: sum up first | {'ceiling' or, if only what others hold is in the way, 'busy', index from 0, spent, held}
if redis.call('EXISTS', KEYS[1]) == 1 then return {'held'} end
local amount, force, process = tonumber(ARGV[1]), ARGV[3] == '1', nil
local spent, held, busy = {}, {}, nil
for i = 2, #KEYS do
  local at = 4 + (i - 2) * 4
  local c = redis.call('HMGET', KEYS[i], 'spent', 'held', 'known')
  if ARGV[at + 3] == '1' and not force then
    process = process or string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
    if c[3] ~= process then return {'unknown'} end
  end
  spent[i] = math.max(tonumber(c[1] or '0'), tonumber(ARGV[at + 1]))
  held[i] = tonumber(c[2] or '0')
  if not force and spent[i] + held[i] + amount > tonumber(ARGV[at]) then
    local answer = {'busy', i - 2, string.format('%.0f', spent[i]), string.format('%.0f', held[i])}
    if spent[i] + amount > tonumber(ARGV[at]) then
      answer[1] = 'ceiling'
      return answer
    end
    busy = busy or answer
  end
end
if busy then return busy end
for i = 2, #KEYS do
  redis.call('HSET', KEYS[i], 'spent', string.format('%.0f', spent[i]), 'held', string.format('%.0f', held[i] + amount))
  redis.call('PEXPIRE', KEYS[i], ARGV[6 + (i - 2) * 4])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'held'}
