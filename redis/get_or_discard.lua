#!lua flags=allow-oom
-- needs: chunk
-- Records of types, where they are registered; else counts their events as discarded.
--
-- KEYS  1 {reg}:types     type name -> record, as in put_type.lua; byte 11 is 1 when registered, 0 once deleted
--       2 {reg}:discarded sorted set: type name by the time of its last discarded event
--       3 {reg}:discards  hash: type name -> events discarded
-- ARGV  1 "1" to count; 2 most discarded types that are kept; then for each type: name, events
-- Answer for each type its record, or ''

local answers, now = {}, clock()
local counted = false
for i = 3, #ARGV, 2 do
  local record = redis.call('HGET', KEYS[1], ARGV[i])
  if record and string.byte(record, 11) == 1 then
    answers[#answers + 1] = record
  else
    answers[#answers + 1] = ''
    if ARGV[1] == '1' then
      redis.call('HINCRBY', KEYS[3], ARGV[i], ARGV[i + 1])
      redis.call('ZADD', KEYS[2], now, ARGV[i])
      counted = true
    end
  end
end
if counted then
  local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[2])
  if over > 0 then
    for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
      redis.call('HDEL', KEYS[3], name)
      redis.call('ZREM', KEYS[2], name)
    end
  end
end
return answers
