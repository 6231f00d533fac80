#!lua flags=no-writes,allow-oom
-- needs: nothing
-- The discarded types, newest first.
--
-- KEYS  1, 2 {reg}:discarded and {reg}:discards, as in get_or_discard.lua
-- Answer {type name, time of the last one, events, …}

local answer = {}
local newest = redis.call('ZRANGE', KEYS[1], 0, -1, 'REV', 'WITHSCORES')
for i = 1, #newest, 2 do
  answer[#answer + 1] = newest[i]
  answer[#answer + 1] = tonumber(newest[i + 1])
  answer[#answer + 1] = tonumber(redis.call('HGET', KEYS[2], newest[i]) or 0)
end
return answer
