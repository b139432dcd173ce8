-- KEYS: claim. ARGV: owner, what is about to be held for an item that its holder is to send. 1: noted. 0: somebody else has the claim.
local c = redis.call('HMGET', KEYS[1], 'state', 'owner')
if c[1] ~= 'held' or c[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'held', ARGV[2])
return 1
