-- KEYS: state. ARGV: version that was loaded (0: none), new version, new state, life in ms.
-- 1: saved (now, or by this same call before). 0: another version is there.
local version = redis.call('HGET', KEYS[1], 'version')
if version and version ~= ARGV[1] then
  if version == ARGV[2] and redis.call('HGET', KEYS[1], 'state') == ARGV[3] then return 1 end
  return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'state', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
