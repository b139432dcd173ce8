-- KEYS: claim. ARGV: owner, lease in ms, life in ms.
-- {'free', fence, lost} | {'held', ms left, lost} | {'done', fence, lost, value}. Time is Redis's own.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local c = redis.call('HMGET', KEYS[1], 'state', 'owner', 'until', 'fence', 'lost', 'value')
local fence, lost = tonumber(c[4]) or 0, tonumber(c[5]) or 0
if c[1] == 'done' then return {'done', fence, lost, c[6]} end
if c[1] == 'held' then
  local left = tonumber(c[3]) - now
  if c[2] ~= ARGV[1] then
    if left > 0 then return {'held', left, lost, false} end
    lost = lost + 1
    fence = fence + 1
  end
else
  fence = fence + 1
end
redis.call('HSET', KEYS[1], 'state', 'held', 'owner', ARGV[1], 'until', now + ARGV[2], 'fence', fence, 'lost', lost)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'free', fence, lost, false}
