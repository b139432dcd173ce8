-- KEYS: claim. ARGV: owner, lease in ms. 1: extended. 0: not the owner's any more.
local c = redis.call('HMGET', KEYS[1], 'state', 'owner')
if c[1] ~= 'held' or c[2] ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'until', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[2])
return 1
