-- KEYS: claim. ARGV: name of an item that was not sent after all.
if redis.call('HGET', KEYS[1], 'item') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'item', 'intent', 'batch')
return 1
