#!lua flags=allow-oom
-- needs: nothing
-- A node is not there any more.
--
-- KEYS  as in announce.lua
-- ARGV  1 the node
-- Answer 1 if it was there

redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
