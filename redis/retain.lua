#!lua flags=allow-oom
-- needs: chunk feed
-- Puts a type's record in force in its partition: its lifetime and its revision. First step; the second is
-- `retain_hour.lua` for each hour, the last `retained.lua`. Until that the revision stands as one whose lifetime is
-- being applied.
--
-- KEYS  1 any key of the partition, as in append.lua
-- ARGV  1 prefix; 2 partition; 3 type number; 4 lifetime in ms (-1 permanent, 0 ephemeral); 5 revision of the type's
--       record; 6 a newer revision that is void, or ''
-- Answer the hours whose keys need the new expiry; none when a newer registration has been here before
--
-- What had expired is taken out first: a longer lifetime keeps what is still there and brings nothing back.

local p, type, ttl, revision = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local key = PREFIX .. 'ttl:{' .. p .. '}'
local known = redis.call('HMGET', key, type, type .. ':r', type .. ':f')
if tonumber(known[2] or 0) > revision and known[2] ~= ARGV[6] then return {} end
redis.call('HSET', key, type, ARGV[4], type .. ':r', ARGV[5], type .. ':p', ARGV[5])

local shortest = ttl
local old = tonumber(known[1] or -1)
if old >= 0 and (ttl < 0 or old < ttl) then shortest = old end
-- Nothing appended from now on is below the floor: of its hour something may come, and so its counts stay.
local floor = tonumber(known[3] or 0)
if ttl == 0 then
  floor = math.max(floor, ms_of(tonumber(redis.call('HGET', PREFIX .. 'last:{' .. p .. '}', type) or 0) + 1))
elseif shortest >= 0 then
  floor = math.max(floor, math.min(NOW - shortest + 1, NOW))
end
redis.call('HSET', key, type .. ':f', string.format('%.0f', floor))
local hours_of_type, newest = hours_key(p, type), nil
local hours = redis.call('HKEYS', hours_of_type)
for i, hour in ipairs(hours) do
  hour = tonumber(hour)
  hours[i] = hour
  if shortest >= 0 then
    local expired = NOW - shortest
    if (hour + 1) * HOUR_MS <= expired + 1 or ttl == 0 then
      redis.call('UNLINK', ev_key(p, type, hour))
      if hour < hour_of(floor) then redis.call('HDEL', hours_of_type, hour) end
    elseif hour * HOUR_MS <= expired then
      redis.call('ZREMRANGEBYSCORE', ev_key(p, type, hour), '-inf', expired)
    end
  end
  if not newest or hour > newest then newest = hour end
end
if newest then
  if ttl < 0 then
    redis.call('PERSIST', hours_of_type)
  else
    redis.call('EXPIREAT', hours_of_type, expiry(newest, ttl))
  end
end
table.sort(hours)
return hours
