#!lua flags=no-writes,allow-oom
-- needs: chunk
-- The nodes that are there.
--
-- KEYS  as in announce.lua
-- ARGV  1 after how many ms of silence a node is gone
-- Answer for each node: how many ms ago it was seen, what it says of itself

local now, limit = clock(), tonumber(ARGV[1])
local answer = {}
local seen = redis.call('ZRANGE', KEYS[1], '(' .. string.format('%.0f', now - limit), '+inf', 'BYSCORE', 'WITHSCORES')
for i = 1, #seen, 2 do
  answer[#answer + 1] = math.max(now - tonumber(seen[i + 1]), 0)
  answer[#answer + 1] = redis.call('HGET', KEYS[2], seen[i]) or ''
end
return answer
