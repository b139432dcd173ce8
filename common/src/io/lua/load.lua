-- KEYS: state. ARGV: a new token, life in ms. {token, state}; without a state the place is kept under the new token, so that
-- a save from before Redis was emptied finds another one.
local s = redis.call('HMGET', KEYS[1], 'token', 'state')
if s[1] then return s end
redis.call('HSET', KEYS[1], 'token', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {ARGV[1], false}
