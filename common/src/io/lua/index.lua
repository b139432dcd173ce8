-- KEYS: sorted set of run ids by start, hash of lines. ARGV: start in ms, run id, line (JSON), how many to keep.
-- A line of a later decision is newer; lines of other orders of arrival are dropped.
local before = redis.call('HGET', KEYS[2], ARGV[2])
if before then
  local old, new = cjson.decode(before), cjson.decode(ARGV[3])
  if (old.chain or 0) > new.chain then return 0 end
end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
local over = redis.call('ZCARD', KEYS[1]) - ARGV[4]
if over > 0 then
  local oldest = redis.call('ZRANGE', KEYS[1], 0, over - 1)
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, over - 1)
  redis.call('HDEL', KEYS[2], unpack(oldest))
end
return 1
