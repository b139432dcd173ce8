-- KEYS: claim. ARGV: owner, 1 while its holder waits for its turn and has begun nothing, else 0. 1: noted, or Redis was emptied
-- meanwhile (then nobody takes the claim for one that waits). 0: somebody else has it.
local c = redis.call('HMGET', KEYS[1], 'state', 'owner')
if not c[1] then return 1 end
if c[1] ~= 'held' or c[2] ~= ARGV[1] then return 0 end
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'waits', 1)
else
  redis.call('HDEL', KEYS[1], 'waits')
end
return 1
