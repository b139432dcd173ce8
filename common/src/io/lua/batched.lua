-- KEYS: claim. ARGV: name of an item, its batch, life in ms. Whoever holds the claim by now; but not over another item's. Also where
-- Redis was emptied: that it is in this batch is worth knowing.
local item = redis.call('HGET', KEYS[1], 'item')
if item and item ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'item', ARGV[1], 'batch', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
