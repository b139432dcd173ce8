-- KEYS: memory. ARGV: token, last sequence of the journal, read after that token was seen. 1: it is known now. 0: the memory is another.
local m = redis.call('HMGET', KEYS[1], 'token', 'since')
if m[1] ~= ARGV[1] then return 0 end
if not m[2] then redis.call('HSET', KEYS[1], 'since', ARGV[2]) end
return 1
