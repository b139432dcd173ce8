-- What the two scripts of a scope's limits share; each is read after this. It does what limit/bucket.rs, limit/ramp.rs and
-- limit/share.rs do, operation by operation, so that a test can compare them. Numbers are kept with 17 digits: nothing is lost.
-- KEYS: bucket, fleet, tenants, flows; and with a flow: its tenant, its tenant's flows, itself.
-- ARGV: now in ms ('': Redis's own time), configured limits (requests, input, output; '': none), burst in ms,
-- whether output is reserved (1 or 0), calls granted without asking. Then each script's own.
local MINUTE, DAY, HOUR, LONG_AGO = 60000, 86400000, 3600000, '-inf'
local HEADROOM, UNKNOWN, UNKNOWN_REFILL, AFTER_MAX = 0.2, 64, 600000, 60000
local ACTIVE, TOLERANCE, AHEAD_MAX, FLEET_SEEN = 10000, 1000, 5000, 15000
local IDLE, COLD_PART, STEP, CAP_MIN, CAP_BURST, RECOVERED, HALVE_EVERY, WINDOW = 60000, 0.25, 5000, 0.0005, 500, 4, 1000, 2000
local min, max, floor = math.min, math.max, math.floor

local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + floor(t[2] / 1000)
end
local configured = {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])}
local burst, reserves, unasked = tonumber(ARGV[5]), ARGV[6] == '1', tonumber(ARGV[7])

local function text(x)
  return x and string.format('%.17g', x) or ''
end

local FIELDS = {'at', 'level1', 'level2', 'level3', 'level4', 'learned1', 'learned2', 'learned3', 'replied', 'unknown', 'blocked',
  'cap', 'cap_end', 'cap_grown', 'cap_level', 'cap_overload', 'used', 'halved', 'window', 'granted', 'granted_before'}
local s = {}
for i, value in ipairs(redis.call('HMGET', KEYS[1], unpack(FIELDS))) do
  s[FIELDS[i]] = tonumber(value)
end
s.unknown, s.blocked, s.window = s.unknown or UNKNOWN, s.blocked or 0, s.window or 0
s.granted, s.granted_before = s.granted or 0, s.granted_before or 0

local function keep()
  local set, gone = {}, {}
  for _, field in ipairs(FIELDS) do
    if s[field] then
      set[#set + 1] = field
      set[#set + 1] = text(s[field])
    else
      gone[#gone + 1] = field
    end
  end
  redis.call('HSET', KEYS[1], unpack(set))
  if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end
  redis.call('PEXPIRE', KEYS[1], DAY)
end

-- Rate per ms, and where the level is full, of requests, input, output and reserved output.
local rate, capacity = {}, {}
local function cap_capacity()
  return max(s.cap * CAP_BURST, 1)
end
local function fill()
  local limit = {}
  for k = 1, 3 do
    local learned = s['learned' .. k]
    limit[k] = learned and configured[k] and min(learned, configured[k]) or learned or configured[k]
    if limit[k] then limit[k] = max(limit[k], 1) end
  end
  limit[4] = reserves and limit[3] or nil
  local passed = max(now - (s.at or now), 0)
  s.at = now
  for k = 1, 4 do
    local name = 'level' .. k
    if limit[k] then
      rate[k] = limit[k] / MINUTE
      capacity[k] = limit[k] * (k == 4 and MINUTE or burst) / MINUTE
      s[name] = s[name] and min(s[name] + rate[k] * passed, capacity[k]) or capacity[k]
    else
      rate[k], capacity[k], s[name] = nil, nil, nil
    end
  end
  s.unknown = min(s.unknown + passed * UNKNOWN / UNKNOWN_REFILL, UNKNOWN)
  if s.cap then s.cap_level = min(s.cap_level + s.cap * passed, cap_capacity()) end
end

local function source()
  if rate[1] or rate[2] or rate[3] or (s.cap and s.replied) then return 'levels' end
  return s.replied and 'unlimited' or 'unknown'
end

local function no_cap()
  s.cap, s.cap_end, s.cap_grown, s.cap_level, s.cap_overload = nil, nil, nil, nil, nil
end

local function roll()
  local window = floor(now / WINDOW)
  if window ~= s.window then
    s.granted_before = window == s.window + 1 and s.granted or 0
    s.granted, s.window = 0, window
  end
end

-- What was granted lately, in calls per ms.
local function measured()
  roll()
  return (s.granted + s.granted_before * (1 - (now % WINDOW) / WINDOW)) / WINDOW
end

local function count(calls)
  roll()
  s.granted = s.granted + calls
  if calls > 0 then s.used = now end
end

-- How long the scope needs for a call at its full rate: by what it takes most of.
local function cost_of(request, input, output)
  return max(max(request, rate[2] and input / rate[2] or 0), rate[3] and output / rate[3] or 0)
end

local function active(key)
  redis.call('ZREMRANGEBYSCORE', key, LONG_AGO, now - ACTIVE)
  return redis.call('ZCARD', key)
end

local function fleet()
  redis.call('ZREMRANGEBYSCORE', KEYS[2], LONG_AGO, now - FLEET_SEEN)
  return redis.call('ZCARD', KEYS[2])
end

fill()
count(unasked)
