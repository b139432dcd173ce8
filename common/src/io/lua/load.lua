-- KEYS: state. ARGV: a new token, life in ms. {token, born, state, process}; without a state the place is kept under the new token,
-- so that a save from before Redis was emptied finds another one. `born` is the first token of this place: a new one says that
-- Redis was emptied. `process` is the Redis process since which the state can lack nothing, or one before it.
local s = redis.call('HMGET', KEYS[1], 'token', 'born', 'state', 'process')
if s[1] then return s end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'born', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {ARGV[1], ARGV[1], false, false}
