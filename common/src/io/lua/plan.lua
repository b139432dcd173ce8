-- KEYS: claim. ARGV: owner, tries so far, ms since the first of them (empty: none was made), ms until the next, life in ms.
-- 1: given back, with what is planned. 0: not the owner's any more. Time is Redis's own.
local c = redis.call('HMGET', KEYS[1], 'state', 'owner')
if c[1] ~= 'held' or c[2] ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], 'state', 'free', 'tries', ARGV[2], 'due', now + ARGV[4])
redis.call('HDEL', KEYS[1], 'owner', 'until', 'waits')
redis.call('HINCRBY', KEYS[1], 'planned', 1)
if ARGV[3] ~= '' then redis.call('HSETNX', KEYS[1], 'first', now - ARGV[3]) end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
