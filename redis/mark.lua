#!lua flags=allow-oom
-- needs: chunk feed
-- Marks events processed by clients. Idempotent: the first mark's time stays.
--
-- KEYS  1 any key of the partition, as in append.lua
-- ARGV  1 prefix; then for each mark: partition, type number, position, lifetime in ms (-1 permanent), client
-- Answer for each 1 when the event exists, else 0

local answers, touched = {}, {}
for i = 2, #ARGV, 5 do
  local p, type, v, client = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 4]
  local ttl = ttl_of(p, type, ARGV[i + 3])
  local stands = exists(p, type, v, ttl)
  answers[#answers + 1] = stands and 1 or 0
  if stands then
    local ms = ms_of(v)
    local hour = hour_of(ms)
    local ok, offset = ok_key(p, type, v, client)
    if redis.call('HSETNX', ok, offset, math.max(0, math.floor((NOW - ms) / 1000))) == 1 then
      local m, who = m_key(p, type, client), who_key(p, type, hour)
      local first = redis.call('HINCRBY', m, hour, 1) == 1
      touched[m] = true
      if first then redis.call('SADD', who, client) end
      if ttl > 0 then
        redis.call('EXPIREAT', ok, expiry(hour, ttl))
        redis.call('EXPIREAT', who, expiry(hour, ttl))
        if first then retain_marks(m, ttl) end
      end
    end
  end
end
for m in pairs(touched) do changed(m) end
return answers
