-- What this Redis remembers: its token, and the last sequence of the journal from before it began to remember (false: not told yet). A
-- flush leaves no memory, and a restart (which may bring an older copy back) is another process: either begins a new one.
local function recall(key)
  local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local m = redis.call('HMGET', key, 'process', 'token', 'since')
  if m[1] == process then return m[2], m[3] end
  local t = redis.call('TIME')
  local token = process .. '.' .. t[1] .. '.' .. t[2]
  redis.call('DEL', key)
  redis.call('HSET', key, 'process', process, 'token', token)
  return token, false
end
