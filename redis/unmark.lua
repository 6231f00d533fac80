#!lua flags=allow-oom
-- needs: chunk feed
-- Takes marks back.
--
-- KEYS  1 any key of the partition, as in append.lua
-- ARGV  1 prefix; then for each mark: partition, type number, position, lifetime in ms (-1 permanent), client
-- Answer for each 1 when the event exists, else 0

local answers, touched = {}, {}
for i = 2, #ARGV, 5 do
  local p, type, v, client = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 4]
  local stands = exists(p, type, v, ttl_of(p, type, ARGV[i + 3]))
  answers[#answers + 1] = stands and 1 or 0
  if stands then
    local ok, offset = ok_key(p, type, v, client)
    if redis.call('HDEL', ok, offset) == 1 then
      local m, hour = m_key(p, type, client), hour_of(ms_of(v))
      touched[m] = true
      -- Without a mark left in the hour, the client leaves it.
      if redis.call('HINCRBY', m, hour, -1) <= 0 then
        redis.call('HDEL', m, hour)
        redis.call('SREM', who_key(p, type, hour), client)
      end
    end
  end
end
for m in pairs(touched) do changed(m) end
return answers
