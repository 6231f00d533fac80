#!lua flags=no-writes,allow-oom
-- needs: chunk feed
-- What a page of a range would be made of, in short.
--
-- KEYS  1 any key of the partition, as in append.lua
-- ARGV  1 prefix; 2 first millisecond; 3 first millisecond after; 4 client or '';
--       then for each type: partition, type number, lifetime in ms as the reader knows it
-- Answer {now, 1 when a lifetime is being changed, when the first event that shows expires or '',
--         digest or '' of nothing}
--
-- Positions are appended upwards and disappear from below. So what shows of a type in a range is given by the first
-- position that shows and by the last one appended, for which `last` is enough: once it has passed the range, nothing
-- is added any more. The first one is looked for only where something may be missing from below. Of ranges that have
-- ended both are looked for: their stamp stays the same whatever comes later, and the expiry is asked. A reader that
-- has not heard of a lifetime in force shows what the store may drop without a trace, so nothing can be said.

local from, to, client = math.max(tonumber(ARGV[2]), EPOCH), tonumber(ARGV[3]), ARGV[4]
local ended, changing, expires = NOW >= to, 0, nil
local BLOCK = 64
local parts = {}

-- The first position in an hour from `low` on; its last one with `newest`.
local function in_hour(p, type, hour, low, newest)
  local key, high, chunk = ev_key(p, type, hour), '(' .. string.format('%.0f', to), nil
  if newest then
    chunk = redis.call('ZRANGE', key, high, low, 'BYSCORE', 'REV', 'LIMIT', 0, 1)[1]
  else
    chunk = redis.call('ZRANGE', key, low, high, 'BYSCORE', 'LIMIT', 0, 1)[1]
  end
  if not chunk then return nil end
  local first, count = head(chunk)
  return newest and first + count - 1 or first
end

-- The first position from `low` on, in the hours up to that of `high`; the last one with `newest`.
local function find_in(p, type, low, high, newest)
  local key, bottom, top = hours_key(p, type), hour_of(low), hour_of(high)
  local function look(hours)
    for _, hour in ipairs(hours) do
      local found = in_hour(p, type, hour, low, newest)
      if found then return found end
    end
  end
  local hours = {}
  if top - bottom < 2 then
    for hour = bottom, top do table.insert(hours, newest and 1 or #hours + 1, hour) end
    return look(hours)
  end
  if redis.call('HLEN', key) <= BLOCK then
    for _, hour in ipairs(redis.call('HKEYS', key)) do
      hour = tonumber(hour)
      if hour >= bottom and hour <= top then hours[#hours + 1] = hour end
    end
    table.sort(hours, function(a, b) if newest then return a > b end return a < b end)
    return look(hours)
  end
  for from_here = 0, top - bottom, BLOCK do
    local block, some = {}, {}
    for k = from_here, math.min(from_here + BLOCK - 1, top - bottom) do
      block[#block + 1] = newest and top - k or bottom + k
    end
    for k, count in ipairs(redis.call('HMGET', key, unpack(block))) do
      if count then some[#some + 1] = block[k] end
    end
    local found = look(some)
    if found then return found end
  end
end

for i = 5, #ARGV, 3 do
  local p, type, given = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local last = tonumber(redis.call('HGET', PREFIX .. 'last:{' .. p .. '}', type) or -1)
  if ms_of(last) >= from then
    local alive, floor, ttl = first_shown(p, type, given)
    if ttl ~= given then changing = 1 end
    local high = math.min(ms_of(last), to - 1)
    local first = 'all'
    -- What a change of the lifetime has removed is gone: the floor only says that something may be.
    if ended or alive >= from or floor >= from then first = find_in(p, type, math.max(from, alive), high) end
    if first then
      if ended and ttl >= 0 then
        local at = ms_of(first) + ttl
        if not expires or at < expires then expires = at end
      end
      parts[#parts + 1] = type
      parts[#parts + 1] = first == 'all' and first or string.format('%.0f', first)
      if ended and ms_of(last) >= to then last = find_in(p, type, math.max(from, alive), high, true) end
      parts[#parts + 1] = ms_of(last) < to and string.format('%.0f', last) or 'all'
      if client ~= '' then parts[#parts + 1] = redis.call('HGET', m_key(p, type, client), 'c') or '' end
    end
  end
end
return {
  NOW,
  changing,
  expires and string.format('%.0f', expires) or '',
  #parts > 0 and redis.sha1hex(table.concat(parts, ' ')) or '',
}
