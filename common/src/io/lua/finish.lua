-- KEYS: claim. ARGV: owner, value, life in ms, fence. 1: done with this value (now or before). 0: another holds or did it.
-- A claim that is gone (Redis was emptied) is taken again: what came out is worth keeping.
local c = redis.call('HMGET', KEYS[1], 'state', 'owner')
if c[1] and c[2] ~= ARGV[1] then return 0 end
if c[1] == 'free' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'done', 'owner', ARGV[1], 'value', ARGV[2])
redis.call('HSETNX', KEYS[1], 'fence', ARGV[4])
redis.call('HDEL', KEYS[1], 'until')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
