-- KEYS: sorted set of run ids by start, hash of lines, hash of how many lines stand how, then a sorted set for each status in which runs rest.
-- ARGV: start in ms, run id, line (JSON), how many to keep of all, how many of each status, which of the sets it rests in (0: none).
-- A line of a later decision is newer; lines of other orders of arrival are dropped.
local id, new = ARGV[2], cjson.decode(ARGV[3])
local before = redis.call('HGET', KEYS[2], id)
local old = before and cjson.decode(before)
if old and (old.chain or 0) > new.chain then return 0 end

local function is_listed(other)
  if redis.call('ZSCORE', KEYS[1], other) then return true end
  for i = 4, #KEYS do
    if redis.call('ZSCORE', KEYS[i], other) then return true end
  end
  return false
end

local function count(line, by)
  local field = line.status .. ' ' .. (line.tenant or 'default')
  if redis.call('HINCRBY', KEYS[3], field, by) <= 0 then redis.call('HDEL', KEYS[3], field) end
end

local function forget(other)
  local line = redis.call('HGET', KEYS[2], other)
  if line then
    count(cjson.decode(line), -1)
    redis.call('HDEL', KEYS[2], other)
  end
end

-- The oldest go. A line stays as long as it is in any of the sets.
local function trim(set, max)
  local over = redis.call('ZCARD', set) - max
  if over <= 0 then return end
  for _, oldest in ipairs(redis.call('ZRANGE', set, 0, over - 1)) do
    redis.call('ZREM', set, oldest)
    if not is_listed(oldest) then forget(oldest) end
  end
end

redis.call('ZADD', KEYS[1], ARGV[1], id)
redis.call('HSET', KEYS[2], id, ARGV[3])
if old then count(old, -1) end
count(new, 1)
if not old or old.status ~= new.status then
  local own = tonumber(ARGV[6])
  for i = 4, #KEYS do
    if i - 3 == own then
      redis.call('ZADD', KEYS[i], ARGV[1], id)
      trim(KEYS[i], tonumber(ARGV[5]))
    else
      redis.call('ZREM', KEYS[i], id)
    end
  end
end
trim(KEYS[1], tonumber(ARGV[4]))
return 1
