-- Reserves what a call wants. ARGV from 8: worker, tenant, workflow, estimated input, most output.
-- Gives {answer, what is known}: answer is {'granted', from, within the share, input, output, and how the times moved} or
-- {'later', ms, why}; known is {learned limits of requests, input, output; whether a reply came; cap per ms; fleet}.
local worker, tenant, workflow = ARGV[8], ARGV[9], ARGV[10]
local estimate, most = tonumber(ARGV[11]), tonumber(ARGV[12])

local function seen(key, member, life)
  redis.call('ZADD', key, now, member)
  redis.call('PEXPIRE', key, life)
end
seen(KEYS[2], worker, HOUR)
seen(KEYS[3], tenant, HOUR)
seen(KEYS[4], tenant .. '/' .. workflow, HOUR)
seen(KEYS[6], workflow, HOUR)
local tenants = active(KEYS[3])
local flows = tenants * active(KEYS[6])
local tenant_time = tonumber(redis.call('HGET', KEYS[5], 'time'))
local f = redis.call('HMGET', KEYS[7], 'time', 'input', 'output')
local flow_time, input_ratio, output_ratio = tonumber(f[1]), tonumber(f[2]) or 1, tonumber(f[3]) or 1

local tenant_ahead, flow_ahead = (tenant_time or now) - now, (flow_time or now) - now
local headroom = flow_ahead <= TOLERANCE and 0 or tenant_ahead <= TOLERANCE and 1 or 2
local share_wait = max(flow_ahead - TOLERANCE, 0)

local function done(answer)
  keep()
  return {answer, {text(s.learned1), text(s.learned2), text(s.learned3), s.replied and '1' or '0', text(s.cap), text(fleet())}}
end

local function later(after, why)
  return done({'later', text(floor(max(after, 1))), why})
end

if now < s.blocked then return later(min(s.blocked - now, AFTER_MAX), 'blocked') end

if s.cap and (now - s.cap_grown > IDLE or now < s.cap_grown) then no_cap() end
if rate[1] and (not s.used or now - s.used > IDLE) and not s.cap then
  local cold = max(rate[1] * COLD_PART, CAP_MIN)
  if cold < rate[1] then
    s.cap, s.cap_end, s.cap_grown = cold, rate[1], now
    s.cap_level = cap_capacity()
  end
end
if s.cap and now - s.cap_grown >= STEP then
  local before = cap_capacity()
  s.cap, s.cap_grown = s.cap * 2, now
  s.cap_level = s.cap_level + (cap_capacity() - before)
  if (s.cap >= s.cap_end and measured() * 4 < s.cap) or (rate[1] and s.cap >= rate[1]) then no_cap() end
end

local from = source()
if from == 'unknown' and s.unknown < 1 then return later(250, 'rate') end

local input, output = estimate * input_ratio, most * output_ratio
local costs = {1, input, output, most}
-- How long until it fits and leaves headroom; within the share it leaves none, and may run into debt.
local function wait(level, per_ms, full, cost, room, whole)
  if room == 0 and not whole then
    if level > 0 then return 0 end
    return floor(-level / per_ms) + 1
  end
  local need = min(cost + room * HEADROOM * full, full)
  if level >= need then return 0 end
  return floor((need - level) / per_ms) + 1
end
local with, without, ramp = 0, 0, false
-- What is reserved may not run into debt: its level is all that the provider has.
local function weigh(level, per_ms, full, cost, is_ramp, whole)
  local w = wait(level, per_ms, full, cost, headroom, whole)
  if w > with then ramp = is_ramp end
  with = max(with, w)
  without = max(without, wait(level, per_ms, full, cost, 0, whole))
end
for k = 1, 4 do
  if rate[k] then weigh(s['level' .. k], rate[k], capacity[k], costs[k], false, k == 4) end
end
if s.cap then weigh(s.cap_level, s.cap, cap_capacity(), 1, true) end
if with > 0 then
  local why = headroom > 0 and without == 0 and 'share' or ramp and 'ramp' or 'rate'
  return later(min(min(with, max(without, floor(share_wait) + 1)), AFTER_MAX), why)
end

local request = rate[1] and 1 / rate[1] or 0
if s.cap then request = max(request, 1 / s.cap) end
local cost = cost_of(request, input, output)
for k = 1, 4 do
  if rate[k] then s['level' .. k] = s['level' .. k] - costs[k] end
end
if s.cap then s.cap_level = s.cap_level - 1 end
if from == 'unknown' then s.unknown = s.unknown - 1 end
count(1)

local function ahead(key, time, by, life)
  local start = max(time or now, now)
  local to = max(min(start + by, now + max(by, AHEAD_MAX)), start)
  redis.call('HSET', key, 'time', text(to))
  redis.call('PEXPIRE', key, life)
  return to - start
end
local tenant_moved = ahead(KEYS[5], tenant_time, cost * tenants, HOUR)
local flow_moved = ahead(KEYS[7], flow_time, cost * flows, DAY)
return done({'granted', from, headroom == 0 and '1' or '0', text(input), text(output), text(request), text(cost), text(tenants),
  text(flows), text(tenant_moved), text(flow_moved)})
