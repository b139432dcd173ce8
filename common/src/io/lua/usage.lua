-- KEYS: the ledger's place, its open runs, then its hashes, then its sorted sets. ARGV: the sequence that the batch goes on from, the
-- one it comes to, when its last entry was written in ms ('' if none), whether that is the journal's end, rows of a kind in one hash at
-- most, members of a sorted set at most, the batch (JSON, numbers as texts). All of it or nothing: a batch that does not go on where
-- the ledger stands was counted already, or comes too soon.
local at, open = KEYS[1], KEYS[2]
if (redis.call('HGET', at, 'seq') or '0') ~= ARGV[1] then return 0 end
local batch = cjson.decode(ARGV[7])
local key = 2

local function row_of(hash, row)
  if redis.call('HSETNX', hash, row.name, '1') == 0 then return row.name end
  if redis.call('HINCRBY', hash, '#' .. row.kind, 1) <= tonumber(ARGV[5]) then return row.name end
  redis.call('HINCRBY', hash, '#' .. row.kind, -1)
  redis.call('HDEL', hash, row.name)
  return row.other
end

for _, hash in ipairs(batch.hashes) do
  key = key + 1
  for _, row in ipairs(hash.rows) do
    local name = row_of(KEYS[key], row)
    for i = 1, #row.sums, 2 do
      redis.call('HINCRBY', KEYS[key], name .. '\31' .. row.sums[i], row.sums[i + 1])
    end
  end
  redis.call('PEXPIREAT', KEYS[key], hash.until_ms)
end
for _, dearest in ipairs(batch.dearest) do
  key = key + 1
  for i = 1, #dearest.runs, 2 do
    redis.call('ZADD', KEYS[key], dearest.runs[i + 1], dearest.runs[i])
  end
  redis.call('ZREMRANGEBYRANK', KEYS[key], 0, -tonumber(ARGV[6]) - 1)
  redis.call('PEXPIREAT', KEYS[key], dearest.until_ms)
end
for i = 1, #batch.open, 2 do
  redis.call('HSET', open, batch.open[i], batch.open[i + 1])
end
for _, run in ipairs(batch.closed) do
  redis.call('HDEL', open, run)
end
redis.call('HSET', at, 'seq', ARGV[2])
redis.call('HINCRBY', at, 'started', batch.started)
redis.call('HINCRBY', at, 'ended', batch.ended)
if ARGV[3] ~= '' then redis.call('HSET', at, 'at_ms', ARGV[3]) end
if ARGV[4] == '1' then
  local now = redis.call('TIME')
  redis.call('HSET', at, 'end_ms', string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)))
end
return 1
