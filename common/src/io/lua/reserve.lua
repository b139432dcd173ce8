-- KEYS: hold, ready marker, then one counter per ceiling. ARGV: amount, life of the hold in ms, whether the counters of days must
-- be complete, whether to take it whatever is left (a hold that Redis lost); then limit, what is spent at least, life in ms of
-- each counter. Amounts are nano-dollars: whole numbers, exact below 2^53 (9 million dollars).
-- {'held'} | {'unknown'}: the day's sums must be made from the journal first | {'ceiling', index from 0, spent}
if redis.call('EXISTS', KEYS[1]) == 1 then return {'held'} end
local amount, strict, force = tonumber(ARGV[1]), ARGV[3] == '1', ARGV[4] == '1'
if strict and not force then
  local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  if redis.call('GET', KEYS[2]) ~= process then return {'unknown'} end
end
local spent = {}
for i = 3, #KEYS do
  local at = 5 + (i - 3) * 3
  spent[i] = math.max(tonumber(redis.call('GET', KEYS[i]) or '0'), tonumber(ARGV[at + 1]))
  if not force and spent[i] + amount > tonumber(ARGV[at]) then
    return {'ceiling', i - 3, string.format('%.0f', spent[i])}
  end
end
for i = 3, #KEYS do
  redis.call('SET', KEYS[i], string.format('%.0f', spent[i] + amount), 'PX', ARGV[7 + (i - 3) * 3])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'held'}
