-- KEYS: claim. ARGV: owner, name of the item, what is to be known of it. An item is about to be sent under a claim that its holder
-- still has. 1: it may be. 0: it may not, or is in a batch already.
local c = redis.call('HMGET', KEYS[1], 'state', 'owner', 'item', 'batch')
if c[1] ~= 'held' or c[2] ~= ARGV[1] then return 0 end
if c[3] == ARGV[2] and c[4] then return 0 end
redis.call('HSET', KEYS[1], 'item', ARGV[2], 'intent', ARGV[3])
redis.call('HDEL', KEYS[1], 'batch', 'held')
return 1
