#!lua flags=allow-oom
-- needs: chunk feed
-- Gives the keys of one hour of a type the expiry of the lifetime in force.
--
-- KEYS  1 any key of the partition, as in append.lua
-- ARGV  1 prefix; 2 partition; 3 type number; 4 hour
-- Answer 1
--
-- Reads the lifetime anew: when two registrations overlap, the newer one's stands at the end, in whatever order their
-- steps come.

local p, type, hour = ARGV[2], ARGV[3], tonumber(ARGV[4])
local ttl = ttl_of(p, type, -1)
local at = expiry(hour, ttl)

local function retain(key)
  if ttl < 0 then
    redis.call('PERSIST', key)
  else
    redis.call('EXPIREAT', key, at)
  end
end

local who = who_key(p, type, hour)
local clients = redis.call('SMEMBERS', who)
retain(ev_key(p, type, hour))
retain(who)
for _, client in ipairs(clients) do
  for minute = hour * 60, hour * 60 + 59 do
    retain(PREFIX .. 'ok:{' .. p .. '}:' .. type .. ':' .. minute .. ':' .. client)
  end
  retain_marks(m_key(p, type, client), ttl)
end
return 1
