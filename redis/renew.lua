#!lua flags=allow-oom
-- needs: chunk stream
-- Moves a claim to a new lease.
--
-- KEYS  as in stream.lua
-- ARGV  1, 2 as in stream.lua; 3 the lease; 4 how long the new one is, in ms
-- Answer the new lease, or '' when the claim had been lost

local lease = tonumber(ARGV[3])
local chunks = redis.call('ZRANGE', OUT, ARGV[3], ARGV[3], 'BYSCORE')
if #chunks == 0 then return '' end
local state = redis.call('HMGET', N, 'l', 'h')
local new = new_lease(tonumber(ARGV[4]), tonumber(state[1] or 0))
local moves = {}
for _, chunk in ipairs(chunks) do
  moves[#moves + 1] = text(new)
  moves[#moves + 1] = chunk
end
put(moves)
redis.call('HSET', N, 'l', text(new))
if tonumber(state[2] or 0) == lease then redis.call('HSET', N, 'h', text(new)) end
reindex()
return text(new)
