-- KEYS: who reads the journal for the ledger, the ledger's place. ARGV: who asks, for how long in ms. Gives whether it is the one, and
-- from where on.
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return {0, '0'} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, redis.call('HGET', KEYS[2], 'seq') or '0'}
