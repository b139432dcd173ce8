-- KEYS: state. ARGV: token that was loaded, new token, new state, life in ms, process.
-- 1: saved (now, or by this same call before). 0: somebody else saved, or Redis was emptied.
local token = redis.call('HGET', KEYS[1], 'token')
if token == ARGV[2] then return 1 end
if token ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[2], 'state', ARGV[3], 'process', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
