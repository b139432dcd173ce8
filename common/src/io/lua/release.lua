-- KEYS: claim. ARGV: owner, how many calls or effects were lost with it. The key stays: that a claim was made is known as
-- long as it lives.
local c = redis.call('HMGET', KEYS[1], 'state', 'owner')
if c[1] ~= 'held' or c[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'state', 'free')
redis.call('HDEL', KEYS[1], 'owner', 'until', 'waits')
redis.call('HINCRBY', KEYS[1], 'lost', ARGV[2])
return 1
