-- Takes in what happened. ARGV from 8: whether a reply came (1 or 0) and its limits and what remains (requests, input, output,
-- each ''  if not told); whether overloaded (1 or 0); how long limited in ms (''  if not); and, with a flow, for a call that is
-- over: 'used' or 'back', from, input, output reserved, how the times moved (6), estimated input, most output, input, output used.
-- Gives {learned limits, levels, cap per ms, blocked until, whether unlimited, tenants, flows, fleet}.
local observed = ARGV[8] == '1'

local function settle(used, from, moved, back, real)
  if from == 'unknown' then s.unknown = min(s.unknown + 1, UNKNOWN) end
  if from ~= 'levels' then return end
  for k = 1, 4 do
    local name = 'level' .. k
    if s[name] then s[name] = min(s[name] + back[k], capacity[k]) end
  end
  if not used and s.cap then s.cap_level = min(s.cap_level + 1, cap_capacity()) end
  local saved = moved.cost - real
  local function correct(key, by, far)
    local time = tonumber(redis.call('HGET', key, 'time'))
    if not time then return end
    if by > 0 then
      time = time - min(by, far)
    else
      time = max(time, min(time - by, now + AHEAD_MAX))
    end
    redis.call('HSET', key, 'time', text(time))
  end
  correct(KEYS[5], saved * moved.tenants, moved.tenant)
  correct(KEYS[7], saved * moved.flows, moved.flow)
end

local function learn(field, part, largest)
  local known = tonumber(redis.call('HGET', KEYS[7], field)) or 1
  redis.call('HSET', KEYS[7], field, text(max(known + 0.2 * (min(part, largest) - known), 0.01)))
  redis.call('PEXPIRE', KEYS[7], DAY)
end

if ARGV[17] then
  local used, from = ARGV[17] == 'used', ARGV[18]
  local a = {}
  for i = 19, 30 do
    a[i] = tonumber(ARGV[i])
  end
  local moved = {request = a[21], cost = a[22], tenants = a[23], flows = a[24], tenant = a[25], flow = a[26]}
  local back, real = {1, a[19], a[20], a[28]}, 0
  if used then
    back = {0, a[19] - a[29], a[20] - a[30], a[28] - a[30]}
    real = cost_of(moved.request, a[29], a[30])
  end
  settle(used, from, moved, back, real)
  if used and observed then
    if a[27] > 0 then learn('input', a[29] / a[27], 4) end
    if a[28] > 0 then learn('output', a[30] / a[28], 1) end
  end
end

if observed then
  s.replied = 1
  for k = 1, 3 do
    s['learned' .. k] = tonumber(ARGV[8 + k]) or s['learned' .. k]
  end
  fill()
  for k = 1, 4 do
    local name, remaining = 'level' .. k, tonumber(ARGV[11 + min(k, 3)])
    if s[name] and remaining then s[name] = min(s[name], remaining) end
  end
end

local limited = tonumber(ARGV[16])
if limited then s.blocked = max(s.blocked, now + limited) end

if ARGV[15] == '1' and not (s.halved and now - s.halved >= 0 and now - s.halved < HALVE_EVERY) then
  local rate_now = measured()
  local least = s.cap and min(s.cap, rate_now) or rate_now
  if not s.cap_overload then
    s.cap_end = max(rate_now * RECOVERED, CAP_MIN * RECOVERED)
    if rate[1] then s.cap_end = min(s.cap_end, rate[1]) end
  end
  s.cap_level = s.cap and min(s.cap_level, 0) or 0
  s.cap, s.cap_grown, s.cap_overload, s.halved = max(least / 2, CAP_MIN), now, 1, now
end

-- Who only looks leaves no trace: a scope that nobody calls under is forgotten in its time.
if observed or ARGV[17] or limited or ARGV[15] == '1' or unasked > 0 then keep() end
return {text(s.learned1), text(s.learned2), text(s.learned3), text(s.level1), text(s.level2), text(s.level3), text(s.cap),
  s.blocked > now and text(s.blocked) or '', source() == 'unlimited' and '1' or '0', text(active(KEYS[3])), text(active(KEYS[4])), text(fleet())}
