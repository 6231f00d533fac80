#!lua flags=allow-oom
-- needs: chunk
-- A node says that it is there and how it does. Those that have not for long are forgotten, and those that were seen in
-- a future that a clock has stepped back from.
--
-- KEYS  1 {reg}:nodes sorted set: node by when it was seen last
--       2 {reg}:facts hash: node -> what it says of itself
-- ARGV  1 the node; 2 what it says of itself; 3 after how many ms of silence a node is gone
-- Answer Redis' clock in Unix milliseconds

local now, limit = clock(), tonumber(ARGV[3])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, range in ipairs({ { '-inf', now - limit }, { now + limit, '+inf' } }) do
  for _, node in ipairs(redis.call('ZRANGE', KEYS[1], range[1], range[2], 'BYSCORE')) do
    redis.call('ZREM', KEYS[1], node)
    redis.call('HDEL', KEYS[2], node)
  end
end
return now
