-- KEYS: claim; and the memory, where its holder must know whether this claim's past can have been forgotten. ARGV: owner, lease in
-- ms, life in ms.
-- {'free', fence, lost, false, token, since, known} | {'held', ms left, lost} | {'done', fence, lost, value}. Time is Redis's own.
-- `known`: 1 where the claim was made before and Redis has not forgotten since.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local c = redis.call('HMGET', KEYS[1], 'state', 'owner', 'until', 'fence', 'lost', 'value', 'memory', 'waits')
local fence, lost = tonumber(c[4]) or 0, tonumber(c[5]) or 0
if c[1] == 'done' then return {'done', fence, lost, c[6], false, false, false} end
if c[1] == 'held' then
  local left = tonumber(c[3]) - now
  if c[2] ~= ARGV[1] then
    if left > 0 then return {'held', left, lost, false, false, false, false} end
    -- One that waited for its turn has begun nothing.
    if not c[8] then lost = lost + 1 end
    fence = fence + 1
    redis.call('HDEL', KEYS[1], 'waits')
  end
else
  fence = fence + 1
end
redis.call('HSET', KEYS[1], 'state', 'held', 'owner', ARGV[1], 'until', now + ARGV[2], 'fence', fence, 'lost', lost)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if not KEYS[2] then return {'free', fence, lost, false, false, false, false} end
local token, since = recall(KEYS[2])
redis.call('HSET', KEYS[1], 'memory', token)
return {'free', fence, lost, false, token, since, c[7] == token and 1 or 0}
