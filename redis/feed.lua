-- What the scripts of feeds and marks share. Put after `chunk.lua`. ARGV[1] is the prefix of every key.
--
--   ev:{p}:TYPE:HOUR           sorted set of chunks by the millisecond of their commit
--   hours:{p}:TYPE             hash: hour -> events ever committed in it
--   ok:{p}:TYPE:MINUTE:CLIENT  hash: offset of the position in the minute -> seconds from commit to mark
--   who:{p}:TYPE:HOUR          set of clients with marks in the hour
--   m:{p}:TYPE:CLIENT          hash: hour -> number of marks; c -> a number that rises with every change of a mark
--   ttl:{p}                    hash: type -> lifetime in ms, TYPE:r -> revision in force, TYPE:f -> floor,
--                              TYPE:p -> that revision while its lifetime is being applied
--   last:{p}                   hash: type -> last position given
--
-- Hours and minutes are counted since 1970. Counts of an hour and of its marks never follow what expires inside the
-- hour: both stay, so that their difference is what was never marked.
--
-- A type's floor is the millisecond below which a change of its lifetime has left nothing: whatever it removed stood
-- there, or in that millisecond.

local PREFIX, NOW, HOUR_MS, MINUTE_MS = ARGV[1], clock(), 3600000, 60000

local function hour_of(ms) return math.floor(ms / HOUR_MS) end

local function ev_key(p, type, hour) return PREFIX .. 'ev:{' .. p .. '}:' .. type .. ':' .. hour end
local function hours_key(p, type) return PREFIX .. 'hours:{' .. p .. '}:' .. type end
local function who_key(p, type, hour) return PREFIX .. 'who:{' .. p .. '}:' .. type .. ':' .. hour end
local function m_key(p, type, client) return PREFIX .. 'm:{' .. p .. '}:' .. type .. ':' .. client end

-- The key and the field of a client's mark on the event at position `v`.
local function ok_key(p, type, v, client)
  local minute = math.floor(ms_of(v) / MINUTE_MS)
  local first = (minute * MINUTE_MS - EPOCH) * 512
  return PREFIX .. 'ok:{' .. p .. '}:' .. type .. ':' .. minute .. ':' .. client, string.format('%.0f', v - first)
end

-- The lifetime in force: the newest registration's, else what the caller knows.
local function ttl_of(p, type, given)
  return tonumber(redis.call('HGET', PREFIX .. 'ttl:{' .. p .. '}', type) or given)
end

-- When the keys of an hour expire, in seconds.
local function expiry(hour, ttl)
  return string.format('%.0f', ((hour + 1) * HOUR_MS + ttl) / 1000 + 1)
end

-- The chunk that holds position `v`, if it is stored.
local function find(p, type, v)
  local ms = ms_of(v)
  for _, chunk in ipairs(redis.call('ZRANGE', ev_key(p, type, hour_of(ms)), ms, ms, 'BYSCORE')) do
    local first, count = head(chunk)
    if v >= first and v < first + count then return chunk end
  end
end

-- Whether an event is stored and within its lifetime. Runs of marks on one millisecond read its chunks once.
local seen_key, seen
local function exists(p, type, v, ttl)
  local ms = ms_of(v)
  if ttl >= 0 and NOW >= ms + ttl then return false end
  local key = type .. ':' .. string.format('%.0f', ms)
  if key ~= seen_key then
    seen_key, seen = key, {}
    for _, chunk in ipairs(redis.call('ZRANGE', ev_key(p, type, hour_of(ms)), ms, ms, 'BYSCORE')) do
      local first, count = head(chunk)
      seen[#seen + 1] = { first, first + count }
    end
  end
  for _, range in ipairs(seen) do
    if v >= range[1] and v < range[2] then return true end
  end
  return false
end

-- The first millisecond of a type that is within its lifetime, the floor, and the lifetime in force. What the caller knows
-- of the lifetime counts only for a type that was never registered here.
local function first_shown(p, type, given)
  local kept = redis.call('HMGET', PREFIX .. 'ttl:{' .. p .. '}', type, type .. ':f')
  local ttl = tonumber(kept[1] or given)
  return ttl >= 0 and NOW - ttl + 1 or 0, tonumber(kept[2] or 0), ttl
end

-- Says that a client's marks on a type have changed, by a number that never comes again: the clock makes it new also
-- where the key has expired in between.
local function changed(m)
  local before = tonumber(redis.call('HGET', m, 'c') or 0)
  redis.call('HSET', m, 'c', string.format('%.0f', math.max(before + 1, NOW)))
end

-- Gives a client's counts of marks the expiry of the newest hour in it, and drops hours that have ended.
local function retain_marks(m, ttl)
  if ttl < 0 then
    redis.call('PERSIST', m)
    return
  end
  local newest
  for _, hour in ipairs(redis.call('HKEYS', m)) do
    hour = tonumber(hour)
    if not hour then
      -- `c`
    elseif (hour + 1) * HOUR_MS + ttl < NOW - HOUR_MS then
      redis.call('HDEL', m, hour)
    elseif not newest or hour > newest then
      newest = hour
    end
  end
  if newest then redis.call('EXPIREAT', m, expiry(newest, ttl)) end
end
