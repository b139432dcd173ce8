-- KEYS: sorted set of run ids by start (of all, or of a status), hash of lines, ready marker.
-- ARGV: start in ms and id of the line that comes before the page ('' and '': from the newest), how many.
-- Gives {whether the index is complete, whether there are more, {{id, start in ms, line}, ...}}.
local from = 0
if ARGV[2] ~= '' then
  local rank = redis.call('ZREVRANK', KEYS[1], ARGV[2])
  if rank then
    from = rank + 1
  else
    -- Not there any more: rather the runs of that millisecond again than one too few.
    from = redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[1], '+inf')
  end
end
local count = tonumber(ARGV[3])
local found = redis.call('ZREVRANGE', KEYS[1], from, from + count, 'WITHSCORES')
local ids, lines = {}, {}
for i = 1, math.min(#found / 2, count) do
  ids[i] = found[2 * i - 1]
end
if #ids > 0 then
  local texts = redis.call('HMGET', KEYS[2], unpack(ids))
  for i, id in ipairs(ids) do
    lines[i] = {id, found[2 * i], texts[i]}
  end
end
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local complete = redis.call('GET', KEYS[3]) == process
return {complete and 1 or 0, #found / 2 > count and 1 or 0, lines}
