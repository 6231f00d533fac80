#!lua flags=allow-oom
-- needs: chunk stream
-- Counters of one stream.
--
-- KEYS  as in stream.lua
-- ARGV  1, 2 as in stream.lua; 3 how long dead letters are kept, in ms
-- Answer {backlog, delivered, failed, dead letters, position of the oldest undelivered event or ''}
--
-- The outbox is sorted by due time, not by age, so the oldest is looked for where it can be: among the first that are
-- due, the first that are leased or wait for a retry, and what has failed. With more than 1000 failed events waiting at
-- once it may be one of those that is not looked at.

trim_dead(tonumber(ARGV[3]))
local oldest
local function consider(v)
  if not oldest or v < oldest then oldest = v end
end
for _, range in ipairs({ { '-inf', '+inf', 100 }, { '(' .. text(CLOCK), '+inf', 100 } }) do
  for _, chunk in ipairs(redis.call('ZRANGE', OUT, range[1], range[2], 'BYSCORE', 'LIMIT', 0, range[3])) do
    consider((head(chunk)))
  end
end
if redis.call('HLEN', TRY) <= 1000 then
  for _, v in ipairs(redis.call('HKEYS', TRY)) do consider(tonumber(v)) end
end
local n = redis.call('HMGET', N, 'b', 'd', 'f')
return {
  tonumber(n[1] or 0),
  tonumber(n[2] or 0),
  tonumber(n[3] or 0),
  redis.call('ZCARD', DEAD),
  oldest and string.format('%.0f', oldest) or '',
}
